import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { describePromises } from '../contract/promises.contract.ts'
import { python } from '../support/python.ts'
import { memoryPair, mixedPair, openPair } from '../support/store-pairs.ts'
import { tempDir } from '../support/temp-dir.ts'

const pairs = { local: memoryPair, 'memory blobs with a directory': async () => mixedPair(await tempDir()) }
for (const [name, make] of Object.entries(pairs)) {
  describePromises(name, {
    outlivesClients: false,
    place: async () => {
      const pair = await make()
      return { open: (options) => openPair(pair, options), end: pair.end }
    },
  })
}

for (const mode of ['none', 'mac', 'seal'] as const) {
  describePromises(mode === 'none' ? 'shared-dir' : `shared-dir, auth ${mode}`, {
    outlivesClients: true,
    place: async () => {
      const dir = await tempDir()
      const keyFile = path.join(dir, 'key')
      await writeFile(keyFile, randomBytes(32).toString('hex'), { mode: 0o600 })
      const auth = mode === 'none' ? { mode } : { mode, keyFile }
      return { open: (options) => sharedDirFeatureStore({ python, root: path.join(dir, 'store'), auth, ...options }) }
    },
  })
}
