import path from 'node:path'
import { finding } from '../../core/errors.ts'
import { replaceFile } from '../../core/files/atomic-file.ts'
import type { StoreId } from '../../core/ids.ts'
import { partFolder, partIndices } from '../parts/part-folders.ts'
import { readManifestRoot } from './manifest-root.ts'
import { ROOT_FILE } from './manifest-schema.ts'
import { type RootKey, signedRootText } from './root-mac.ts'

/**
 * Signs the manifest in `dir` anew, with all its parts. Doing it again changes nothing.
 * @throws STORE_AUTH unless `key` accepts it as it is; MANIFEST_INVALID when there is none, or one of another store.
 */
export async function resignManifest(dir: string, storeId: StoreId, key: RootKey): Promise<void> {
  const folders = [dir, ...(await partIndices(dir)).map((index) => partFolder(dir, index))]
  const signed = await Promise.all(folders.map((folder) => resignFolder(folder, storeId, key)))
  if (!signed.includes(true)) throw notOfStore(dir, 'no such file')
}

/** False where there is no root. */
async function resignFolder(dir: string, storeId: StoreId, key: RootKey): Promise<boolean> {
  const root = (await readManifestRoot(dir, key))?.root
  if (root === undefined) return false
  if (root.store_id !== storeId) throw notOfStore(dir, `${root.store_id}; the store is ${storeId}`)
  await replaceFile(path.join(dir, ROOT_FILE), await signedRootText(root, key))
  return true
}

const notOfStore = (dir: string, found: string) =>
  finding('MANIFEST_INVALID', 'there is no manifest of this store here', {
    file: path.join(dir, ROOT_FILE),
    field: 'store_id',
    found,
    fix: 'give --manifest the folders of the manifests of this store',
  })
