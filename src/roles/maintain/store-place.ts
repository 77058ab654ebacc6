import { lazyPython } from '../../bridge/lazy-python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import { finding } from '../../core/errors.ts'
import { openStoreForCare, type StoreCare } from '../../store/open-for-care.ts'

/** Which store, as somebody at a terminal names it: by its folder, or by the config of a run. */
export interface StorePlace {
  readonly root: string | null
  readonly config: RunConfig | null
  readonly keyFile: string | null
  /** Python starts in this process: it is needed for keys and tensors only. */
  readonly onPython: () => void
}

/** @throws CONFIG_INVALID, STORE_UNAVAILABLE or STORE_AUTH: nothing is made where there is no store. */
export async function openStorePlace({ root, config, keyFile, onPython }: StorePlace): Promise<StoreCare> {
  const python = lazyPython(onPython)
  if (root !== null) return openStoreForCare({ python, root, auth: null, keyFile })
  if (config === null) {
    const fix = 'name it: --store DIR, or -c FILE for the store of a config'
    throw finding('CONFIG_INVALID', 'which store?', { found: 'neither --store nor a draftbridge.yaml here', fix })
  }
  const { store } = config
  if (!traitsOf(store).directory) {
    const fix = `there is nothing to look at: a ${store.kind} store ends with its process`
    throw finding('CONFIG_INVALID', 'this store has no folder', { field: 'store.kind', found: store.kind, fix })
  }
  const auth = keyFile === null ? store.auth : { ...store.auth, keyFile }
  return openStoreForCare({ python, root: store.root, auth, keyFile: auth.keyFile })
}
