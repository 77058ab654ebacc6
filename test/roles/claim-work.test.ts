import { readdir } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { ClaimFiles } from '../../src/core/liveness/claim-files.ts'
import { ownNote } from '../../src/core/liveness/holder-note.ts'
import { SILENT_MS, Watch } from '../../src/core/liveness/watch.ts'
import type { EventBody } from '../../src/report/events/events.ts'
import { claimWork } from '../../src/roles/claim-work.ts'
import { FakeMonotonic } from '../support/fake-monotonic.ts'
import { tempDir } from '../support/temp-dir.ts'

/** A folder that a process elsewhere has claimed, and somebody who wants it. */
async function wanted() {
  const dir = await tempDir()
  const files = new ClaimFiles(dir, 'train')
  const note = { ...ownNote({ witness: null }), host: 'elsewhere' }
  await files.prepare('other', JSON.stringify(note))
  await files.create({ epoch: 1, id: 'other' })
  const events: EventBody[] = []
  const stop = new AbortController()
  const time = new FakeMonotonic()
  const context = { signal: stop.signal, events: { emit: (body: EventBody) => void events.push(body) } }
  return { dir, events, stop, time, context, watch: new Watch({ time }) }
}

it('waits for a holder that may be dead, and says so once', async () => {
  const { dir, events, time, context, watch } = await wanted()
  await using claim = await claimWork(dir, 'train', context, { watch })
  expect([claim.epoch, time.now()]).toEqual([2, SILENT_MS])
  expect(events).toEqual([{ event: 'claim.waiting', folder: dir, seconds: SILENT_MS / 1000 }])
})

it('says nothing where there is nobody to wait for', async () => {
  const { events, context } = await wanted()
  await using _claim = await claimWork(await tempDir(), 'train', context)
  expect(events).toEqual([])
})

it.each(['SIGINT', 'SIGTERM'] as const)('ends its waiting at %s, as an interruption', async (signal) => {
  const { dir, stop, context, watch } = await wanted()
  const emit = () => stop.abort(signal)
  const before = await readdir(dir)
  const claim = claimWork(dir, 'train', { ...context, events: { emit } }, { watch })
  await expect(claim).rejects.toMatchObject({ code: 'INTERRUPTED', details: { signal } })
  expect(await readdir(dir)).toEqual(before)
})
