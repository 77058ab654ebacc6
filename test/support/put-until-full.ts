/** A process that puts until there is no room: `node --import tsx put-until-full.ts ROOT QUOTA BYTES`. Prints how many. */
import path from 'node:path'
import { hasCode } from '../../src/core/errors.ts'
import { DirectoryNotes } from '../../src/store/coordination/directory/directory-notes.ts'
import { FakePeers, memberIn, objectsInFolder } from './fake-space.ts'

const [root = '', quota = '', bytes = ''] = process.argv.slice(2)
const world = {
  notes: new DirectoryNotes(path.join(root, 'notes'), path.join(root, 'staging')),
  objects: objectsInFolder(path.join(root, 'objects')),
  peers: new FakePeers(),
}
let put = 0
const clients = await Promise.all(Array.from({ length: 3 }, () => memberIn(world, quota === '' ? null : Number(quota))))
process.stdout.write('ready\n')
await new Promise((resolve) => process.stdin.once('data', resolve))
await Promise.all(
  clients.map(async (client) => {
    for (let index = 0; index < 40; index += 1) {
      const done = client.put(`${client.memberId}.${index}`, Number(bytes))
      const full = await done.then(() => false).catch((error: unknown) => isFull(error))
      if (full) return
      put += 1
    }
  }),
)
process.stdout.write(`${put}\n`)
process.exit()

function isFull(error: unknown): boolean {
  if (hasCode(error, 'STORE_OVER_BUDGET')) return true
  throw error
}
