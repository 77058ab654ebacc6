import path from 'node:path'
import { finding } from '../../core/errors.ts'
import { replaceFile } from '../../core/files/atomic-file.ts'
import type { StoreId } from '../../core/ids.ts'
import { readManifestRoot } from './manifest-root.ts'
import { ROOT_FILE } from './manifest-schema.ts'
import { type RootKey, signedRootText } from './root-mac.ts'

/**
 * Signs the manifest in `dir` anew. Doing it again changes nothing.
 * @throws STORE_AUTH unless `key` accepts it as it is; MANIFEST_INVALID when there is none, or one of another store.
 */
export async function resignManifest(dir: string, storeId: StoreId, key: RootKey): Promise<void> {
  const file = path.join(dir, ROOT_FILE)
  const root = (await readManifestRoot(dir, key))?.root
  if (root?.store_id !== storeId) {
    throw finding('MANIFEST_INVALID', 'there is no manifest of this store here', {
      file,
      field: 'store_id',
      found: root === undefined ? 'no such file' : `${root.store_id}; the store is ${storeId}`,
      fix: 'give --manifest the folders of the manifests of this store',
    })
  }
  await replaceFile(file, await signedRootText(root, key))
}
