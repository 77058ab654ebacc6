import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { it } from 'vitest'
import { DirectoryCoordination } from '../../src/store/coordination/directory/directory-coordination.ts'
import { attachRoot } from '../../src/store/directory/store-root.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { describeCoordination } from '../contract/coordination.contract.ts'
import { describeNotes } from '../contract/notes.contract.ts'
import { describeStoreContract } from '../contract/store.contract.ts'
import { describeTwoProcesses } from '../contract/two-process.contract.ts'
import { python } from '../support/python.ts'

/** Two mounts of one folder, such as two clients of a network file system: `DRAFTBRIDGE_TEST_MOUNTS=/mnt/a:/mnt/b`. */
const [first, second] = process.env['DRAFTBRIDGE_TEST_MOUNTS']?.split(':') ?? []

if (first === undefined || second === undefined) {
  it('the suites on two mounts', (context) => context.skip('DRAFTBRIDGE_TEST_MOUNTS=DIR:DIR names none'))
} else {
  describeSuites(first, second)
}

function describeSuites(here: string, there: string): void {
  describeStoreContract('one mount', {
    open: (options) => sharedDirFeatureStore({ python, root: path.join(here, randomUUID(), 'store'), ...options }),
  })
  const clients = async (count: number) => {
    const name = randomUUID()
    const opened = []
    for (let at = 0; at < count; at += 1) {
      const root = await attachRoot(path.join(at % 2 === 0 ? here : there, name, 'store'), { create: true })
      opened.push(new DirectoryCoordination(root))
    }
    return opened
  }
  describeCoordination('two mounts', clients)
  describeNotes('two mounts', async () => {
    const [client] = await clients(1)
    if (client === undefined) throw new Error('no client')
    await client.enter()
    return client.notes
  })
  // The other process has the other mount.
  describeTwoProcesses('two mounts', {
    place: async () => ({ root: path.join(there, randomUUID(), 'store') }),
    open: (options) => {
      const root = path.join(here, path.relative(there, options.root))
      return sharedDirFeatureStore({ ...options, root, python })
    },
  })
}
