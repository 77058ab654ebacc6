import path from 'node:path'
import type { Python } from '../bridge/python.ts'
import { StoreId } from '../core/ids.ts'
import type { Watch } from '../core/liveness/watch.ts'
import { KeyAdmission, type StoreAuth, type StoreKey } from './auth/store-auth.ts'
import { RekeyFiles } from './blobs/directory/rekey-files.ts'
import { readStoreFile, storeFileOf } from './directory/store-file.ts'
import { storeKinds } from './kinds.ts'
import type { Inventory } from './maintenance/inventory.ts'
import { countedSpace } from './space/counted-space.ts'
import { assembleParts, type StoreParts } from './store-parts.ts'

/** An open store for the commands that check and clean it. */
export interface StoreCare extends AsyncDisposable {
  readonly parts: StoreParts
  readonly key: StoreKey | null
  readonly files: Inventory
  readonly root: string
}

export interface StoreCareOptions {
  readonly python: Python
  readonly root: string
  /** Default: what store.json says, for a user who names nothing but a folder. */
  readonly auth?: StoreAuth | null
  readonly keyFile?: string | null
  /** Default: that of this process. */
  readonly watch?: Watch
}

/** Opens the store in a directory. It joins the store as a member only when a command changes something. */
export async function openStoreForCare({
  python,
  root: given,
  auth = null,
  keyFile = null,
  watch,
}: StoreCareOptions): Promise<StoreCare> {
  const root = path.resolve(given)
  const own = auth ?? { mode: await statedMode(root, keyFile), keyFile }
  const ports = await storeKinds['shared-dir']({ python, root, auth: own, create: false })
  const { id, key, files } = ports
  const parts = assembleParts(ports, { id, retain: true, space: countedSpace(null), watch })
  return {
    parts,
    key,
    files,
    root,
    [Symbol.asyncDispose]: async () => {
      await parts.members.leave()
      await ports.blobs.close()
      await key?.[Symbol.asyncDispose]()
    },
  }
}

// A user who gives a key expects a store that needs one: for a store that says otherwise that is an error.
async function statedMode(root: string, keyFile: string | null): Promise<StoreAuth['mode']> {
  const found = await readStoreFile(storeFileOf(root))
  const mode = found?.auth.mode ?? 'none'
  return mode === 'none' && keyFile !== null ? 'mac' : mode
}

/**
 * Checks a key without making anything. True: there is a store and this is its key. False: there is none, and the key
 * fits a new store.
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

/** For a change of the store's key. The store must be joined before it is written to. */
export function openRekeyFiles(python: Python, { parts, root }: StoreCare): RekeyFiles {
  return new RekeyFiles(python, root, parts.members.id)
}
