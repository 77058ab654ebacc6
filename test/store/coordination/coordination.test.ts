import path from 'node:path'
import type { Coordination } from '../../../src/store/coordination/coordination.ts'
import { DirectoryCoordination } from '../../../src/store/coordination/directory/directory-coordination.ts'
import { MemoryCoordination, SharedFacts } from '../../../src/store/coordination/memory/memory-coordination.ts'
import { attachRoot } from '../../../src/store/directory/store-root.ts'
import { describeCoordination } from '../../contract/coordination.contract.ts'
import { describeNotes } from '../../contract/notes.contract.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { hollowPorts, sharedMemory } from '../../support/watched-ports.ts'

/** How a new store is made, and what opens a client of it. */
const kinds: Readonly<Record<string, () => Promise<() => Coordination>>> = {
  memory: async () => {
    const facts = new SharedFacts()
    return () => new MemoryCoordination(facts)
  },
  directory: async () => {
    const root = await attachRoot(path.join(await tempDir(), 'store'), { create: true })
    return () => new DirectoryCoordination(root)
  },
  'watched memory': async () => {
    const memory = sharedMemory()
    return () => hollowPorts(memory).coordination
  },
}

for (const [name, make] of Object.entries(kinds)) {
  describeCoordination(name, async (count) => {
    const open = await make()
    return Array.from({ length: count }, open)
  })
  describeNotes(name, async () => {
    const client = (await make())()
    await client.enter()
    return client.notes
  })
}
