import path from 'node:path'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { describeStoreContract } from '../contract/store.contract.ts'
import { keyFile } from '../support/key-files.ts'
import { python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

// A key takes nothing away from what a store promises. (Not seal: its refs hold masked digests, and the contract compares
// them with those of the tensors; auth.py.test.ts reads and writes sealed samples.)
describeStoreContract('shared-dir with a mac', {
  open: async (options) => {
    const auth = { mode: 'mac', keyFile: await keyFile() } as const
    return sharedDirFeatureStore({ python, root: path.join(await tempDir(), 'store'), auth, ...options })
  },
})
