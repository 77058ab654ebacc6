import { randomBytes } from 'node:crypto'
import path from 'node:path'
import type { Python } from '../bridge/python.ts'
import { StoreId } from '../core/ids.ts'
import { KeyGate, type StoreAuth, type StoreKey } from './auth/store-auth.ts'
import { LocalBackend } from './backends/local.ts'
import { RekeyFiles } from './backends/rekey-files.ts'
import { type Durability, SharedDirBackend } from './backends/shared-dir.ts'
import { readStoreFile, storeFileOf } from './backends/store-file.ts'
import { StoreFiles } from './backends/store-files.ts'
import { FeatureStore, type Verify } from './feature-store.ts'
import type { Inventory } from './maintenance/inventory.ts'
import { bookedSpace } from './space/space-book.ts'
import { assembleParts, type StoreParts } from './store-parts.ts'

export interface LocalStoreOptions {
  readonly python: Python
  /** Keep samples when they are released (offline, many epochs). Default false: the last release frees. */
  readonly retain?: boolean
  /** Default: a random one. */
  readonly id?: StoreId
  /** Bytes that all samples together may take up. Default: no bound. */
  readonly quota?: number | null
}

export interface SharedDirStoreOptions {
  readonly python: Python
  readonly root: string
  readonly retain?: boolean
  readonly durability?: Durability
  /** Make the store when there is none. Default true; a consumer says false, so that a typo is an error. */
  readonly create?: boolean
  /** Default: no key. */
  readonly auth?: StoreAuth
  /** Bytes that all samples of the store together may take up, whoever puts them. Default: no bound. */
  readonly quota?: number | null
  /** Keep equal tensors of different samples once. Default false. */
  readonly dedup?: boolean
  /** Whether a get compares what it reads with what was put. Default: always. */
  readonly verify?: Verify
}

/** A store in the memory of this process. */
export async function localFeatureStore({
  python,
  retain = false,
  id,
  quota = null,
}: LocalStoreOptions): Promise<FeatureStore> {
  const storeId = id ?? StoreId.parse(`local-${randomBytes(8).toString('hex')}`)
  return FeatureStore.open(new LocalBackend(python), { id: storeId, retain, space: bookedSpace(quota) })
}

/** A store in a directory that several processes or machines share. Its id is in the directory's `store.json`. */
export async function sharedDirFeatureStore(options: SharedDirStoreOptions): Promise<FeatureStore> {
  const {
    python,
    root,
    retain = false,
    durability = 'fsync',
    create = true,
    auth = { mode: 'none' },
    quota = null,
    verify = 'always',
    dedup = false,
  } = options
  const backend = await SharedDirBackend.attach({ python, root, durability, create, auth, dedup })
  const { key } = backend
  const files = new StoreFiles(path.resolve(root))
  return FeatureStore.open(backend, { id: backend.root.id, retain, verify, space: bookedSpace(quota), key, files })
}

/** A store as those see it who check and clean it. */
export interface StoreCare extends AsyncDisposable {
  readonly parts: StoreParts
  readonly key: StoreKey | null
  readonly files: Inventory
  readonly root: string
}

export interface StoreCareOptions {
  readonly python: Python
  readonly root: string
  /** Default: as the store says of itself, for a person who names nothing but a folder. */
  readonly auth?: StoreAuth | null
  readonly keyFile?: string | null
}

/** Opens a store that is there. It becomes a member only when the work needs that. */
export async function openStoreForCare({
  python,
  root,
  auth = null,
  keyFile = null,
}: StoreCareOptions): Promise<StoreCare> {
  const own = auth ?? { mode: await statedMode(root, keyFile), keyFile }
  const backend = await SharedDirBackend.attach({ python, root, auth: own, durability: 'fsync', create: false })
  const parts = assembleParts(backend, { id: backend.root.id, retain: true, space: bookedSpace(null) })
  return {
    parts,
    key: backend.key,
    files: new StoreFiles(path.resolve(root)),
    root: path.resolve(root),
    [Symbol.asyncDispose]: async () => {
      await parts.members.leave()
      await backend.close()
    },
  }
}

// Who gives a key expects a store that needs one: for a store that says otherwise that is an error.
async function statedMode(root: string, keyFile: string | null): Promise<StoreAuth['mode']> {
  const found = await readStoreFile(storeFileOf(path.resolve(root)))
  const mode = found?.auth.mode ?? 'none'
  return mode === 'none' && keyFile !== null ? 'mac' : mode
}

/**
 * Whether a store is there; then the key is its own, and else one that a new store can have. Makes nothing.
 * @throws STORE_AUTH, or STORE_UNAVAILABLE for a damaged store.json.
 */
export async function tryStoreAuth(python: Python, root: string, auth: StoreAuth): Promise<boolean> {
  const file = storeFileOf(path.resolve(root))
  const found = await readStoreFile(file)
  await using gate = new KeyGate(python, auth)
  if (found === null) await gate.begin(StoreId.parse('none-yet'))
  else await gate.admit(found.storeId, found.auth, file)
  return found !== null
}

export type { RekeyFiles } from './backends/rekey-files.ts'

/** What is needed to give a store that is open for care a new key. The store must be joined before it is written to. */
export function openRekeyFiles(python: Python, { parts, root }: StoreCare): RekeyFiles {
  return new RekeyFiles(python, root, parts.members.id)
}
