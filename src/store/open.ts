import type { Python } from '../bridge/python.ts'
import { FeatureStore, type Verify } from './feature-store.ts'
import { type PortOptions, type StoreKind, storeKinds } from './kinds.ts'
import { countedSpace } from './space/counted-space.ts'

/** The `store` section of a config fits. */
export interface StoreOptions extends PortOptions {
  readonly kind: StoreKind
  /** Keep samples when they are released (offline, many epochs). Default false: the last release frees. */
  readonly retain?: boolean
  /** Bytes that all samples of the store together may take up, whoever puts them. Default: no bound. */
  readonly quota?: number | null
  /** Whether a get compares what it reads with what was put. Default: always. */
  readonly verify?: Verify
}

export type LocalStoreOptions = Pick<StoreOptions, 'python' | 'retain' | 'id' | 'quota'>

export interface SharedDirStoreOptions extends Omit<StoreOptions, 'kind' | 'id'> {
  readonly python: Python
  readonly root: string
}

/** Opens a store of any kind and becomes one of its members. */
export async function openStore({ kind, retain = false, quota = null, verify = 'always', ...options }: StoreOptions) {
  const ports = await storeKinds[kind](options)
  const { id, key, files } = ports
  return FeatureStore.open(ports, { id, retain, verify, space: countedSpace(quota), key, files })
}

/** A store in the memory of this process. */
export const localFeatureStore = (options: LocalStoreOptions): Promise<FeatureStore> =>
  openStore({ ...options, kind: 'local' })

/** A store in a directory that several processes or machines share. Its id is in the directory's `store.json`. */
export const sharedDirFeatureStore = (options: SharedDirStoreOptions): Promise<FeatureStore> =>
  openStore({ ...options, kind: 'shared-dir' })
