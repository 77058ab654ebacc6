import path from 'node:path'
import type { Python } from '../bridge/python.ts'
import { StoreId } from '../core/ids.ts'
import type { Watch } from '../core/liveness/watch.ts'
import { KeyAdmission, type StoreAuth, type StoreKey } from './auth/store-auth.ts'
import { RekeyFiles } from './blobs/directory/rekey-files.ts'
import type { Inventory } from './blobs/inventory.ts'
import { readStoreFile, storeFileOf } from './directory/store-file.ts'
import { storeKinds } from './kinds.ts'
import { countedSpace } from './space/counted-space.ts'
import { assembleParts, type StoreParts } from './store-parts.ts'

/** An open store for the commands that check and clean it. */
export interface MaintenanceStore extends AsyncDisposable {
  readonly parts: StoreParts
  readonly key: StoreKey | null
  readonly files: Inventory
  readonly root: string
}

export interface MaintenanceOptions {
  readonly python: Python
  readonly root: string
  /** Default: the mode in store.json, for a user who gives only a folder. */
  readonly auth?: StoreAuth | null
  readonly keyFile?: string | null
  /** Default: the watch of this process. */
  readonly watch?: Watch
}

/** Opens the store in a directory. It joins the store as a member only when a command changes something. */
export async function openStoreForMaintenance({
  python,
  root: given,
  auth = null,
  keyFile = null,
  watch,
}: MaintenanceOptions): Promise<MaintenanceStore> {
  const root = path.resolve(given)
  const own = auth ?? { mode: await recordedMode(root), keyFile }
  const ports = await storeKinds['shared-dir']({ python, root, auth: own, create: false })
  const { id, key, files } = ports
  const parts = assembleParts(ports, { id, retain: true, space: countedSpace(null), watch })
  return {
    parts,
    key,
    files,
    root,
    [Symbol.asyncDispose]: async () => {
      await using _key = key
      await using _blobs = { [Symbol.asyncDispose]: () => ports.blobs.close() }
      await parts.members.leave()
    },
  }
}

async function recordedMode(root: string): Promise<StoreAuth['mode']> {
  return (await readStoreFile(storeFileOf(root)))?.auth.mode ?? 'none'
}

/**
 * Checks a key without creating a store. True: the store exists and this is its key. False: there is no store, and the
 * key can be used for a new one.
 * @throws STORE_AUTH, or STORE_UNAVAILABLE for a damaged store.json.
 */
export async function tryStoreAuth(python: Python, root: string, auth: StoreAuth): Promise<boolean> {
  const file = storeFileOf(path.resolve(root))
  const found = await readStoreFile(file)
  await using admission = new KeyAdmission(python, auth)
  if (found === null) await admission.begin(StoreId.parse('none-yet'))
  else await admission.admit(found.storeId, found.auth, file)
  return found !== null
}

export type { RekeyFiles } from './blobs/directory/rekey-files.ts'

/** For a change of the store's key. The caller must join the store as a member before it writes. */
export function openRekeyFiles(python: Python, { parts, root }: MaintenanceStore): RekeyFiles {
  return new RekeyFiles(python, root, parts.members.id)
}
