import path from 'node:path'
import { expect, it } from 'vitest'
import { beatText, ownNote } from '../../../src/core/liveness/holder-note.ts'
import { SILENT_MS, Watch } from '../../../src/core/liveness/watch.ts'
import { Claims } from '../../../src/store/coordination/claims.ts'
import { DirectoryCoordination } from '../../../src/store/coordination/directory/directory-coordination.ts'
import { Members } from '../../../src/store/coordination/members.ts'
import { MemoryCoordination, SharedFacts } from '../../../src/store/coordination/memory/memory-coordination.ts'
import { attachRoot } from '../../../src/store/directory/store-root.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'
import { exampleRef } from '../../support/refs.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** A store's members as one client sees them, whose time the test moves. */
async function members() {
  const root = await attachRoot(path.join(await tempDir(), 'store'), { create: true })
  const time = new FakeMonotonic()
  const coordination = new DirectoryCoordination(root)
  const mine = new Members(coordination, new Watch({ time }))
  await mine.join()
  const { notes } = coordination
  /** A member on a machine that cannot be seen from here. */
  const elsewhere = async (id: string) => {
    const text = (beat: number) =>
      JSON.stringify({ ...ownNote({ witness: null }), host: 'elsewhere', pid: 7, beat: beatText(beat) })
    await notes.write(`members/${id}`, text(0))
    return { beat: (count: number) => notes.rewrite(`members/${id}`, text(count)) }
  }
  const other = async () => {
    const client = new Members(new DirectoryCoordination(root))
    await client.join()
    return client
  }
  return { coordination, mine, time, elsewhere, other }
}

const [A, B] = ['m00000000000000aa', 'm00000000000000bb'] as const

it('sees another one in the same process, its end, and its fence', async () => {
  const { mine, other } = await members()
  const first = await other()
  expect(await mine.look(first.id)).toEqual({ state: 'living' })
  await first.leave()
  expect(await mine.dead(first.id)).toBe(true)
  const second = await other()
  await mine.fence(second.id)
  expect([await mine.dead(second.id), await second.wasFenced()]).toEqual([true, true])
  await expect(second.join()).rejects.toMatchObject({ code: 'STORE_BUSY' })
  await second.leave()
  expect(await mine.all()).toEqual([mine.id])
  await mine.leave()
})

it('takes one that it cannot see for dead after it has watched it, all of them together', async () => {
  const { mine, time, elsewhere } = await members()
  const living = await elsewhere(A)
  await elsewhere(B)
  const beats = time.every(10_000, () => void living.beat(time.now()))
  await mine.settle({})
  beats.stop()
  expect(time.now()).toBe(SILENT_MS)
  expect([await mine.dead(A), await mine.dead(B), await mine.dead(mine.id)]).toEqual([false, true, false])
  await mine.leave()
})

it('refuses a claim at once, says how long its holder was watched, and takes it over later', async () => {
  const { coordination, mine, time, elsewhere } = await members()
  await elsewhere(A)
  const { sampleId, generation } = exampleRef(0)
  const key = { sampleId, generation }
  await coordination.notes.create(`claims/${sampleId}.${generation}`, A)
  const claims = new Claims(coordination, mine)
  const found = expect.stringMatching(/process 7 on elsewhere .* after 30 s more/)
  await expect(claims.take(key)).rejects.toMatchObject({ code: 'STORE_BUSY', details: { found } })
  time.advance(SILENT_MS)
  expect(await claims.take(key)).toBe('ours')
  expect(await mine.all()).toEqual([mine.id])
  await mine.leave()
})

it.each(['', 'no member', '../x'])('takes over a claim that names nobody: %j', async (text) => {
  const { coordination, mine } = await members()
  const { sampleId, generation } = exampleRef(0)
  await coordination.notes.write(`claims/${sampleId}.${generation}`, text)
  const claims = new Claims(coordination, mine)
  expect(await claims.take({ sampleId, generation })).toBe('ours')
  expect(await claims.holder({ sampleId, generation })).toBe(mine.id)
  await mine.leave()
})

it('is never taken for dead in a store of one process, as long as it has its note', async () => {
  const facts = new SharedFacts()
  const [one, two] = [1, 2].map(() => new Members(new MemoryCoordination(facts)))
  await one?.join()
  expect(await two?.look(one?.id ?? '')).toEqual({ state: 'living' })
  await one?.leave()
  expect(await two?.look(one?.id ?? '')).toEqual({ state: 'dead' })
})
