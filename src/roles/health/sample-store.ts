import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { finding, hasCode } from '../../core/errors.ts'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import type { MaintenanceStore } from '../../store/open-for-maintenance.ts'
import { openStoreLocation, type StoreLocation } from '../maintain/store-location.ts'
import { reasonOf } from './marked-samples.ts'

/** The store that samples are read from, or why there is none. */
export interface SampleStore extends AsyncDisposable {
  readonly store: MaintenanceStore | null
  readonly why: string
}

/**
 * Opens the store of a manifest for reading. A store that cannot be opened costs the samples and nothing else.
 * @throws STORE_AUTH when the key is not that of the store: then the manifest cannot be trusted either.
 */
export async function openForSamples(locate: () => Promise<StoreLocation>): Promise<SampleStore> {
  try {
    const store = await openStoreLocation(await locate())
    return { store, why: '', [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
  } catch (error) {
    if (hasCode(error, 'STORE_AUTH')) throw error
    return { store: null, why: reasonOf(error), [Symbol.asyncDispose]: async () => undefined }
  }
}

/** Manifests often lie in a folder of their store, or beside it. */
export async function storeNear(dir: string, storeId: string): Promise<StoreLocation> {
  const at = (root: string) => ({ root, config: null, keyFile: null })
  for (let folder = path.resolve(dir); folder !== path.dirname(folder); folder = path.dirname(folder)) {
    if ((await marker(folder)) !== null) return at(folder)
  }
  const around = path.dirname(path.resolve(dir))
  const beside = await readdir(around, { withFileTypes: true }).catch(() => [])
  for (const entry of beside) {
    const folder = path.join(around, entry.name)
    if (entry.isDirectory() && (await marker(folder))?.includes(JSON.stringify(storeId))) return at(folder)
  }
  throw finding('CONFIG_INVALID', 'the store of this manifest is neither around it nor beside it: give --store DIR', {})
}

const marker = (folder: string): Promise<string | null> =>
  readTextOrNull(path.join(folder, 'store.json')).catch(() => null)
