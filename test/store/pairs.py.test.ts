import path from 'node:path'
import { localFeatureStore, sharedDirFeatureStore } from '../../src/store/open.ts'
import { describeStoreContract } from '../contract/store.contract.ts'
import type { Subject } from '../contract/subject.ts'
import { python } from '../support/python.ts'
import { mixedPair, openPair, type Pair } from '../support/store-pairs.ts'
import { tempDir } from '../support/temp-dir.ts'
import { memoryPorts, WatchedPorts } from '../support/watched-ports.ts'

const onPair = (make: () => Promise<Pair>): Subject => ({ open: async (options) => openPair(await make(), options) })

const subjects: Readonly<Record<string, Subject>> = {
  local: { open: (options) => localFeatureStore({ python, ...options }) },
  'shared-dir': {
    open: async (options) => sharedDirFeatureStore({ python, root: path.join(await tempDir(), 'store'), ...options }),
  },
  // One client each, which frees its blobs when it is closed.
  'memory blobs with a directory': onPair(async () => {
    const { client, end } = await mixedPair(await tempDir())
    return { client: async () => client().finally(end), end }
  }),
  // What unit tests use to make calls fail is a store like the others.
  'watched ports': onPair(async () => ({
    client: async () => new WatchedPorts(memoryPorts(python)),
    end: async () => {},
  })),
}

for (const [name, subject] of Object.entries(subjects)) describeStoreContract(name, subject)
