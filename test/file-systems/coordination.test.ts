import path from 'node:path'
import { DirectoryCoordination } from '../../src/store/coordination/directory/directory-coordination.ts'
import { attachRoot } from '../../src/store/directory/store-root.ts'
import { describeCoordination } from '../contract/coordination.contract.ts'
import { describeNotes } from '../contract/notes.contract.ts'
import { describeOnFuse, type MoodName, mounts } from './mounted.ts'

/** The moods that a store may have no trouble with at all. What others lead to: operations.test.ts. */
const works: readonly MoodName[] = ['cached', 'permForNotEmpty', 'bigInodes', 'shortReads', 'slow']

for (const mood of works) {
  describeOnFuse(`mood ${mood}`, () => {
    // Each client sees the store from a machine of its own.
    const clients = async (count: number) => {
      const roots = (await mounts(mood, count)).map((point) => path.join(point, 'store'))
      const attached = []
      for (const root of roots) attached.push(await attachRoot(root, { create: true }))
      return attached.map((root) => new DirectoryCoordination(root))
    }
    describeCoordination(mood, clients)
    describeNotes(mood, async () => {
      const [client] = await clients(1)
      if (client === undefined) throw new Error('no client')
      await client.enter()
      return client.notes
    })
  })
}
