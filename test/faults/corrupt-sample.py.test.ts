import { open, readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CodedError } from '../../src/core/errors.ts'
import type { StoreId } from '../../src/core/ids.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import type { RunEvent } from '../../src/report/events/events.ts'
import { summaryText } from '../../src/report/text/summary.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { batchPlan } from '../../src/train/data/batch-plan.ts'
import { expectNoHandles } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { curve, differingBits, trainingConfig, trainingInputs, type Watched, watched } from '../support/training.ts'

let dir: string
const bad: Record<string, string> = {}

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  for (const store of ['strict', 'lenient']) {
    await produce(trainingConfig(dir, { name: `producer-${store}`, ranks: 1, store }), watched())
    bad[store] = await damage(store)
  }
}, 300_000)
afterAll(expectNoHandles)

/** Turns one bit of the last tensor of the sample that rank 1 of 2 trains on first. */
async function damage(store: string): Promise<string> {
  const { manifest, train, run } = trainingConfig(dir, { name: 'any', ranks: 2, store })
  const { storeId } = JSON.parse(await readFile(path.join(dir, store, 'store.json'), 'utf8')) as { storeId: StoreId }
  const refs = [...(await readRefManifest({ dir: manifest, storeId })).refs]
  const lengths = refs.map(({ numTokens }) => Math.min(numTokens, 18))
  const [first] = batchPlan(lengths, { ...train, seed: run.seed, worldSize: 2, rank: 1 }).from(0)
  const ref = refs[first?.samples[0] ?? -1]
  if (ref === undefined) throw new Error('an empty plan')
  const objects = path.join(dir, store, 'objects')
  const name = (await readdir(objects, { recursive: true })).find((each) => each.includes(`${ref.sampleId}.`))
  const file = await open(path.join(objects, name ?? ''), 'r+')
  try {
    // The first byte behind the header, which is padded to a multiple of 4096.
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, 4096)
    await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, 4096)
  } finally {
    await file.close()
  }
  return ref.sampleId
}

/** 8 epochs of 5 micro-steps in windows of 2: long enough to be stopped on the way. */
const STEPS = 20
const lenient = (name: string, ranks: 1 | 2) => {
  return trainingConfig(dir, { name, ranks, store: 'lenient', maxCorruptShare: 0.5, epochs: 8 })
}

const lostIn = ({ seen }: Watched) => seen.flatMap((body) => (body.event === 'sample.corrupt' ? [body] : []))

async function recordOf(checkpoint: string): Promise<{ lost: unknown }> {
  return JSON.parse(await readFile(path.join(checkpoint, 'checkpoint.json'), 'utf8')) as { lost: unknown }
}

describe('a damaged sample', () => {
  it('ends the run where none may be lost: exit 65, the sample named, the object in quarantine', async () => {
    const context = watched()
    const running = consume(trainingConfig(dir, { name: 'strict', ranks: 2, store: 'strict' }), context)
    const error: unknown = await running.then(
      () => null,
      (thrown: unknown) => thrown,
    )
    if (!(error instanceof CodedError)) throw error
    expect([error.code, error.exitCode]).toEqual(['SAMPLE_CORRUPT', 65])
    expect(error.message).toContain(bad['strict'])
    expect(error.message).toContain('quarantine')
    const names = (await readdir(path.join(dir, 'strict', 'quarantine'))).map((name) => name.split('.')[0])
    expect(new Set(names)).toEqual(new Set([bad['strict']]))
    expect(lostIn(context)).toMatchObject([{ sampleId: bad['strict'], code: 'SAMPLE_CORRUPT', quarantined: true }])
  })
})

describe('where half of the samples may be lost', () => {
  const ran: Record<string, { checkpoint: string; watched: Watched }> = {}

  async function train(name: string, ranks: 1 | 2): Promise<void> {
    const context = watched()
    ran[name] = { checkpoint: (await consume(lenient(name, ranks), context)).checkpoint, watched: context }
  }

  beforeAll(async () => {
    await train('two', 2)
    await train('one', 1)
  }, 300_000)

  it('the run goes to its end, tells once what it lost, and the checkpoint lists it', async () => {
    const two = ran['two']
    if (two === undefined) throw new Error('no run')
    expect(lostIn(two.watched)).toMatchObject([{ sampleId: bad['lenient'], quarantined: true }])
    expect(two.watched.seen.at(-1)).toMatchObject({ event: 'train.finished', step: STEPS })
    // Lost in the window of micro-steps 0 and 1, with 2 made ahead.
    expect((await recordOf(two.checkpoint)).lost).toEqual([{ sampleId: bad['lenient'], since: 4 }])
    const events = two.watched.seen.map((body, ts): RunEvent => ({ v: 1, ts, runId: 'test', body }))
    expect(summaryText(events)).toContain(`1 sample could not be read: ${bad['lenient']} (quarantined)`)
  })

  it('one rank, which finds it gone, and two ranks have the same losses within 1e-5, and the same list', async () => {
    const [one, two] = [ran['one'], ran['two']]
    if (one === undefined || two === undefined) throw new Error('no run')
    expect(lostIn(one.watched)).toMatchObject([{ sampleId: bad['lenient'], code: 'SAMPLE_NOT_FOUND' }])
    expect((await recordOf(one.checkpoint)).lost).toEqual((await recordOf(two.checkpoint)).lost)
    const [mine, theirs] = [curve(one.watched), curve(two.watched)]
    expect(mine).toHaveLength(STEPS)
    for (const [index, { loss, gradNorm }] of mine.entries()) {
      const other = theirs[index]
      for (const [a, b] of [
        [loss, other?.loss],
        [gradNorm, other?.gradNorm],
      ]) {
        expect(Math.abs((a ?? 0) - (b ?? 1)) / Math.abs(a ?? 1)).toBeLessThan(1e-5)
      }
    }
  })

  it('a run that stops and goes on has the same list and ends with the same weights to the last bit', async () => {
    const stopped = watched((body) => {
      if (body.event === 'train.metrics' && body.step === 2) stopped.abort.abort('SIGTERM')
    })
    await expect(consume(lenient('again', 2), stopped)).rejects.toMatchObject({ code: 'INTERRUPTED' })
    const resumed = watched()
    const { checkpoint } = await consume(lenient('again', 2), resumed)
    const [started] = resumed.seen.flatMap((body) => (body.event === 'train.started' ? [body] : []))
    expect(started?.resumedFrom).toBeGreaterThanOrEqual(2)
    const two = ran['two']?.checkpoint ?? ''
    expect(await differingBits(two, checkpoint)).toBe(0)
    expect((await recordOf(checkpoint)).lost).toEqual((await recordOf(two)).lost)
    expect(lostIn(resumed)).toEqual([])
  })
})
