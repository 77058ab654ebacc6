import { expect, it } from 'vitest'
import { BEAT_MS, Heartbeat } from '../../../src/core/liveness/heartbeat.ts'
import { parseNote } from '../../../src/core/liveness/holder-note.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

async function beating(write: (text: string) => Promise<boolean>) {
  const time = new FakeMonotonic()
  const heartbeat = await Heartbeat.prepare({ write, time, memberId: 'm0123456789abcdef' })
  return { time, heartbeat }
}

it('moves the counter of its note and never the length', async () => {
  const texts: string[] = []
  const { time, heartbeat } = await beating(async (text) => texts.push(text) > 0)
  const first = heartbeat.text
  heartbeat.start()
  for (let beat = 0; beat < 3; beat++) {
    time.advance(BEAT_MS)
    await turn()
  }
  await heartbeat.stop()
  time.advance(BEAT_MS)
  expect(texts.map((text) => Number(parseNote(text)?.beat))).toEqual([1, 2, 3])
  expect(new Set([first, ...texts].map(({ length }) => length)).size).toBe(1)
  expect(parseNote(first)).toMatchObject({ pid: process.pid, memberId: 'm0123456789abcdef' })
})

it('learns that its note is gone, and writes no more', async () => {
  let there = true
  let writes = 0
  const { heartbeat } = await beating(async () => {
    writes += 1
    return there
  })
  expect(await heartbeat.beat()).toBe(true)
  there = false
  expect(await heartbeat.beat()).toBe(false)
  there = true
  expect([await heartbeat.beat(), heartbeat.isFenced, writes]).toEqual([false, true, 2])
  await heartbeat.stop()
})

it('goes on after a beat that failed, and starts none while one is under way', async () => {
  let fail = true
  let writes = 0
  let done: (there: boolean) => void = () => undefined
  const { time, heartbeat } = await beating(async () => {
    writes += 1
    if (fail) throw new Error('EIO')
    return new Promise((resolve) => {
      done = resolve
    })
  })
  heartbeat.start()
  time.advance(BEAT_MS)
  await turn()
  fail = false
  time.advance(BEAT_MS)
  await turn()
  time.advance(10 * BEAT_MS)
  await turn()
  expect([writes, heartbeat.isFenced]).toEqual([2, false])
  done(true)
  await turn()
  time.advance(BEAT_MS)
  await turn()
  expect(writes).toBe(3)
  done(true)
  await heartbeat.stop()
})
