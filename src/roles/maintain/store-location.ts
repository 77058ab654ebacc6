import { lazyPython } from '../../bridge/lazy-python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { sharedKinds, traitsOf } from '../../config/store-kinds.ts'
import { finding } from '../../core/errors.ts'
import { type MaintenanceStore, openStoreForMaintenance } from '../../store/open-for-maintenance.ts'

/** A store as the user of the command line names it: by its folder, or by the config of a run. */
export interface StoreLocation {
  readonly root: string | null
  readonly config: RunConfig | null
  readonly keyFile: string | null
}

/** Opens an existing store, never creates one. @throws CONFIG_INVALID, STORE_UNAVAILABLE or STORE_AUTH. */
export async function openStoreLocation({ root, config, keyFile }: StoreLocation): Promise<MaintenanceStore> {
  // Only keys and tensors need Python.
  const python = lazyPython
  if (root !== null) return openStoreForMaintenance({ python, root, auth: null, keyFile })
  if (config === null) {
    const fix = 'name the store with --store DIR, or its config with -c FILE'
    const found = 'no --store, and no draftbridge.yaml in this folder'
    throw finding('CONFIG_INVALID', 'no store is given', { found, fix })
  }
  const { store } = config
  if (!traitsOf(store).directory) {
    const fix = `use store.kind ${sharedKinds}: a ${store.kind} store is in the memory of a process and ends with it`
    throw finding('CONFIG_INVALID', 'this store has no folder', { field: 'store.kind', found: store.kind, fix })
  }
  const auth = keyFile === null ? store.auth : { ...store.auth, keyFile }
  return openStoreForMaintenance({ python, root: store.root, auth, keyFile: auth.keyFile })
}
