import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { describeTwoProcesses } from '../contract/two-process.contract.ts'
import { python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

// `local` is not here: its data lies in the memory of one process (traits.shared is false).
for (const mode of ['none', 'mac', 'seal'] as const) {
  describeTwoProcesses(mode === 'none' ? 'shared-dir' : `shared-dir, auth ${mode}`, {
    place: async () => {
      const dir = await tempDir()
      const root = path.join(dir, 'store')
      if (mode === 'none') return { root }
      const keyFile = path.join(dir, 'key')
      await writeFile(keyFile, randomBytes(32).toString('hex'), { mode: 0o600 })
      return { root, auth: { mode, keyFile } }
    },
    open: (options) => sharedDirFeatureStore({ ...options, python }),
  })
}
