import path from 'node:path'
import { StoreId } from '../../src/core/ids.ts'
import { MemoryBlobs, SharedTensors } from '../../src/store/blobs/memory/memory-blobs.ts'
import { DirectoryCoordination } from '../../src/store/coordination/directory/directory-coordination.ts'
import { attachRoot } from '../../src/store/directory/store-root.ts'
import { FeatureStore } from '../../src/store/feature-store.ts'
import { countedSpace } from '../../src/store/space/counted-space.ts'
import type { StorePorts } from '../../src/store/store-parts.ts'
import { python } from './tensors.ts'
import { memoryPorts, sharedMemory } from './watched-ports.ts'

/** A new store, and how another client of it is opened. `end` frees what only lives as long as a client has it open. */
export interface Pair {
  client(): Promise<StorePorts>
  end(): Promise<void>
}

/** Memory blobs and memory coordination, which clients of this process share. */
export async function memoryPair(): Promise<Pair> {
  const memory = sharedMemory()
  const first = memoryPorts(python, memory)
  return { client: async () => memoryPorts(python, memory), end: () => first.blobs.close() }
}

/** Memory blobs whose facts are in `dir`: what a store over a network is made of. */
export async function mixedPair(dir: string): Promise<Pair> {
  const root = path.join(dir, 'store')
  const shared = new SharedTensors()
  const client = async () => {
    const coordination = new DirectoryCoordination(await attachRoot(root, { create: true }))
    return { coordination, blobs: new MemoryBlobs({ python, coordination, shared }) }
  }
  const first = await client()
  return { client, end: () => first.blobs.close() }
}

/** Another client of the pair's store. */
export async function openPair(
  pair: Pair,
  { retain, quota = null }: { readonly retain: boolean; readonly quota?: number | null },
): Promise<FeatureStore> {
  const id = StoreId.parse('pair')
  return FeatureStore.open(await pair.client(), { id, retain, space: countedSpace(quota) })
}
