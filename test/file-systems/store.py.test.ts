import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { describeStoreContract } from '../contract/store.contract.ts'
import { python } from '../support/python.ts'
import { describeOnKernel, kernelMounts } from './kernel-mounts.ts'
import { describeOnFuse, type MoodName, mounted } from './mounted.ts'

/** The whole contract of the store on one file system, which `point` gives; each store has a folder of its own there. */
function describeStoreOn(name: string, point: () => Promise<string>): void {
  let shared: Promise<string> | undefined
  describeStoreContract(name, {
    open: async (options) => {
      shared ??= point()
      return sharedDirFeatureStore({ python, root: path.join(await shared, randomUUID(), 'store'), ...options })
    },
  })
}

const works: readonly MoodName[] = ['cached', 'permForNotEmpty', 'bigInodes', 'shortReads', 'staleClose', 'clockAhead']

for (const mood of works) describeOnFuse(`mood ${mood}`, () => describeStoreOn(mood, () => mounted(mood)))

for (const kind of ['tmpfs', 'overlay', 'xfs', 'btrfs'] as const) {
  describeOnKernel(kind, () => describeStoreOn(kind, () => kernelMounts(kind)))
}
