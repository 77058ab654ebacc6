import { existsSync } from 'node:fs'
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { RunEvent } from '../../../src/report/events/events.ts'
import { EVENTS_NAME, EventsFile, eventLine, eventsNameOf, readEvents } from '../../../src/report/events/events-file.ts'
import { metrics, wholeRun } from '../sample-run.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-events-'))
})
afterEach(async () => {
  await rm(dir, { recursive: true })
})

const clock = { now: () => 1234 }

it('reads back every emitted event, and listeners get the same events', async () => {
  const received: RunEvent[] = []
  using log = new EventsFile({ dir, runId: 'demo', clock, listeners: [(event) => received.push(event)] })
  for (const body of wholeRun) log.emit(body)
  const { events, unreadable } = await readEvents(dir)
  expect(events).toEqual(wholeRun.map((body) => ({ v: 1, ts: 1234, runId: 'demo', body })))
  expect(received).toEqual(events)
  expect(unreadable).toBe(0)
  const lines = (await readFile(path.join(dir, EVENTS_NAME), 'utf8')).trimEnd().split('\n')
  expect(received.map(eventLine)).toEqual(lines)
})

it('reads the files of all nodes: producers, then nodes that train, and last what this process says', async () => {
  const say = (name: string, step: number) => {
    using log = new EventsFile({ dir, name, runId: 'demo', clock })
    log.emit(metrics(step, 2))
  }
  say(EVENTS_NAME, 4)
  say(eventsNameOf('consumer', 1), 3)
  say(eventsNameOf('producer', 0), 2)
  say(eventsNameOf('producer', 1), 1)
  const steps = async (own?: string) => {
    const { events } = await readEvents(dir, own)
    return events.map(({ body }) => (body.event === 'train.metrics' ? body.step : null))
  }
  expect(await steps()).toEqual([1, 2, 3, 4])
  expect(await steps(eventsNameOf('producer', 0))).toEqual([1, 3, 4, 2])
})

it('a file of another node is made with its first event', async () => {
  const name = eventsNameOf('consumer', 7)
  using log = new EventsFile({ dir, name, runId: 'demo', clock })
  expect(existsSync(path.join(dir, name))).toBe(false)
  log.emit(metrics(1, 2))
  expect(existsSync(path.join(dir, name))).toBe(true)
})

it('skips an incomplete last line, and the next start begins a new line', async () => {
  const file = path.join(dir, EVENTS_NAME)
  {
    using log = new EventsFile({ dir, runId: 'demo', clock })
    log.emit(metrics(1, 2))
  }
  await appendFile(file, '{"v":1,"ts":12,"run')
  expect(await readEvents(dir)).toMatchObject({ unreadable: 1, events: [{ body: { step: 1 } }] })
  using again = new EventsFile({ dir, runId: 'demo', clock })
  again.emit(metrics(2, 2))
  expect((await readEvents(dir)).events.map(({ body }) => body)).toEqual([metrics(1, 2), metrics(2, 2)])
})

it('finds no events in a folder without a file', async () => {
  expect(await readEvents(path.join(dir, 'none'))).toEqual({ events: [], unreadable: 0 })
})
