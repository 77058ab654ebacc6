import path from 'node:path'
import { localFeatureStore, sharedDirFeatureStore } from '../../src/store/open.ts'
import { describeStoreContract } from '../contract/store.contract.ts'
import type { Subject } from '../contract/subject.ts'
import { python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

const backends: Readonly<Record<string, Subject>> = {
  local: { open: (options) => localFeatureStore({ python, ...options }) },
  'shared-dir': {
    open: async (options) => sharedDirFeatureStore({ python, root: path.join(await tempDir(), 'store'), ...options }),
  },
}

for (const [name, subject] of Object.entries(backends)) describeStoreContract(name, subject)
