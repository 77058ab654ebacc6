import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { StoreId } from '../../src/core/ids.ts'
import { LocalBackend, LocalData } from '../../src/store/backends/local.ts'
import { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { bookedSpace } from '../../src/store/space/space-book.ts'
import { describePromises } from '../contract/promises.contract.ts'
import { python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

describePromises('local', {
  outlivesClients: false,
  place: async () => {
    const data = new LocalData()
    const anchor = new LocalBackend(python, data)
    return {
      open: ({ retain, quota = null }) => {
        const options = { id: StoreId.parse('local'), retain, space: bookedSpace(quota) }
        return FeatureStore.open(new LocalBackend(python, data), options)
      },
      end: () => anchor.close(),
    }
  },
})

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
