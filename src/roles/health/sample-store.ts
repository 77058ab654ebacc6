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
export async function openForSamples(
  dir: string,
  { store: given }: { readonly store: StoreLocation | null },
): Promise<SampleStore> {
  try {
    const store = await openStoreLocation(given ?? (await storeAround(dir)))
    return { store, why: '', [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
  } catch (error) {
    if (hasCode(error, 'STORE_AUTH')) throw error
    return { store: null, why: reasonOf(error), [Symbol.asyncDispose]: async () => undefined }
  }
}

/** Manifests often lie in a folder of their store. */
async function storeAround(dir: string): Promise<StoreLocation> {
  for (let folder = path.resolve(dir); folder !== path.dirname(folder); folder = path.dirname(folder)) {
    if ((await readTextOrNull(path.join(folder, 'store.json')).catch(() => null)) !== null) {
      return { root: folder, config: null, keyFile: null }
    }
  }
  throw finding('CONFIG_INVALID', 'the store of this manifest is not known here: give --store DIR', {})
}
