import { randomBytes } from 'node:crypto'
import path from 'node:path'
import type { Python } from '../bridge/python.ts'
import { StoreId } from '../core/ids.ts'
import { KeyAdmission, type StoreAuth, type StoreKey } from './auth/store-auth.ts'
import { BLOB_FOLDERS, DirectoryBlobs, type Durability } from './blobs/directory/directory-blobs.ts'
import { StoreFiles } from './blobs/directory/store-files.ts'
import type { Inventory } from './blobs/inventory.ts'
import { listedInventory } from './blobs/listed-inventory.ts'
import { MemoryBlobs } from './blobs/memory/memory-blobs.ts'
import { DirectoryCoordination } from './coordination/directory/directory-coordination.ts'
import { MemoryCoordination } from './coordination/memory/memory-coordination.ts'
import { attachRoot } from './directory/store-root.ts'
import type { StorePorts } from './store-parts.ts'

/** What any kind of store may want to know. Each kind reads what it has a use for. */
export interface PortOptions {
  readonly python: Python
  /** The directory of a store that has one. */
  readonly root?: string
  /** Default: a random one. A store that outlives its process has its own. */
  readonly id?: StoreId
  /** Make the store when there is none. Default true; a consumer says false, so that a typo is an error. */
  readonly create?: boolean
  readonly durability?: Durability
  /** Default: no key. */
  readonly auth?: StoreAuth
  /** Keep equal tensors of different samples once. Default false. */
  readonly dedup?: boolean
}

/** A store that was found or made: one implementation of each port, and what belongs to both. The caller owns it. */
export interface OpenedPorts extends StorePorts {
  readonly id: StoreId
  readonly key: StoreKey | null
  readonly files: Inventory
}

async function memory({ python, id }: PortOptions): Promise<OpenedPorts> {
  const coordination = new MemoryCoordination()
  const blobs = new MemoryBlobs({ python, coordination })
  const storeId = id ?? StoreId.parse(`local-${randomBytes(8).toString('hex')}`)
  return { id: storeId, blobs, coordination, key: null, files: listedInventory(blobs) }
}

async function directory(options: PortOptions): Promise<OpenedPorts> {
  const { python, root: given, create = true, durability = 'fsync', auth = { mode: 'none' }, dedup = false } = options
  if (given === undefined) throw new Error('a store in a directory was opened without a root')
  await using admission = new KeyAdmission(python, auth)
  const root = await attachRoot(path.resolve(given), { create, admission, ...BLOB_FOLDERS })
  const key = admission.take()
  const coordination = new DirectoryCoordination(root)
  const blobs = new DirectoryBlobs({ python, root, folder: coordination.folder, durability, key, dedup })
  return { id: root.id, blobs, coordination, key, files: new StoreFiles(root.dir) }
}

/** The kinds of stores, each one row: which blobs it has and which coordination. Only here the implementations are chosen. */
export const storeKinds = { local: memory, 'shared-dir': directory } as const
export type StoreKind = keyof typeof storeKinds
