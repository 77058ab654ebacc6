import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { finding } from '../../../src/core/errors.ts'
import type { MicroStep } from '../../../src/train/data/batch-plan.ts'
import { type Batch, Loader } from '../../../src/train/data/loader.ts'
import { LostSamples } from '../../../src/train/data/lost-samples.ts'
import type { Loss } from '../../../src/train/data/sample-reader.ts'
import { FakeEngine, fakeLosses, fakePlan, fakeRef } from '../fake-engine.ts'
import { FakeStore } from '../fake-store.ts'

const refs = Array.from({ length: 8 }, (_, index) => fakeRef(index, { bytes: 100 }))
const plan = fakePlan(refs, { batch: { samples: 2 } })

let python: FakeEngine
let store: FakeStore
let losses: Loss[]
beforeEach(() => {
  python = new FakeEngine()
  store = new FakeStore(python)
  losses = []
})
const loader = (prefetch = 2, lost = fakeLosses(8), prefetchBytes?: number) => {
  const bytes = prefetchBytes === undefined ? {} : { prefetchBytes }
  const given = { refs, steps: plan.from(0), maxLength: 16, session: 1, prefetch, ...bytes, lost }
  return new Loader({ python, store, ...given, onLost: (loss) => losses.push(loss) })
}

async function drain(batches: AsyncIterable<Batch>, use: (batch: Batch) => Promise<void> | void): Promise<void> {
  for await (const given of batches) {
    await using batch = given
    await use(batch)
  }
}

const nothingHeld = () => expect([store.leased.length, python.live.size]).toEqual([0, 0])

describe('the loader', () => {
  it('hands out the batches of the plan in its order, and holds no lease once a batch is built', async () => {
    const seen: (readonly number[])[] = []
    await drain(loader(), async ({ step }) => {
      seen.push(step.samples)
      await python.idle()
      expect(store.leased).toEqual([])
    })
    expect(seen).toEqual([...plan.from(0)].map((step) => step.samples))
    nothingHeld()
  })

  it('builds a batch of exactly the samples that the plan names, in that order', async () => {
    await drain(loader(), () => undefined)
    expect(store.gotten).toEqual([...plan.from(0)].flatMap(({ samples }) => samples.map((index) => `sample-${index}`)))
    expect(python.named('batch.build')).toHaveLength(4)
  })

  it.each([1, 2, 3])('makes %i batches ahead of the one in use and no more', async (prefetch) => {
    const counts: number[] = []
    await drain(loader(prefetch), async () => {
      await python.idle()
      counts.push(python.named('batch.build').length)
    })
    expect(counts).toEqual([0, 1, 2, 3].map((done) => Math.min(4, done + 1 + prefetch)))
  })

  it.each([
    [2, 2],
    [1.9, 1],
    [0, 1],
  ])('makes batches ahead as long as their samples fit: %d batches fit, %i are made', async (fit, made) => {
    const each = 2 * 100
    const counts: number[] = []
    await drain(loader(3, fakeLosses(8), fit * each), async () => {
      await python.idle()
      counts.push(python.named('batch.build').length)
    })
    expect(counts).toEqual([0, 1, 2, 3].map((done) => Math.min(4, done + 1 + made)))
  })

  it('frees what it made ahead when the loop ends early', async () => {
    for await (const given of loader(3)) {
      await using _batch = given
      break
    }
    nothingHeld()
  })

  it('frees what it made ahead when the loop throws', async () => {
    const failing = drain(loader(3), () => {
      throw new Error('the engine failed')
    })
    await expect(failing).rejects.toThrow('the engine failed')
    nothingHeld()
  })

  it('counts the time that the loop waits, and only that', async () => {
    let now = 0
    const time = vi.spyOn(performance, 'now').mockImplementation(() => now)
    onTestFinished(() => void time.mockRestore())
    const finish: (() => void)[] = []
    python.answers['batch.build'] = async () => {
      await new Promise<void>((resolve) => finish.push(resolve))
      return { handle: python.mint(), tokens: 1, positions: 1, lossTokens: 1 }
    }
    const until = (holds: () => boolean) => vi.waitUntil(holds, { timeout: 60_000, interval: 5 })
    const building = (count: number) => until(() => finish.length === count)
    const counted = loader(1)
    const batches = counted[Symbol.asyncIterator]()
    const first = batches.next()
    await building(1)
    now += 300
    finish[0]?.()
    await using _first = (await first).value as Batch
    expect(counted.waitedMs).toBe(300)
    // The loop works for a minute, and its next batch is there when it asks.
    await building(2)
    finish[1]?.()
    await until(() => store.leased.length === 0)
    now += 60_000
    await using _second = (await batches.next()).value as Batch
    expect(counted.waitedMs).toBe(300)
    const third = batches.next()
    await building(3)
    now += 50
    finish[2]?.()
    await using _third = (await third).value as Batch
    expect(counted.waitedMs).toBe(350)
    await building(4)
    finish[3]?.()
    await batches.return()
  })
})

describe('a failure', () => {
  it('of get is met at its own batch, names the sample, and leaves nothing behind', async () => {
    const third = [...plan.from(0)][2]?.samples ?? []
    store.missing.add(`sample-${third[1]}`)
    let done = 0
    const failing = drain(loader(3), () => {
      done += 1
    })
    await expect(failing).rejects.toMatchObject({
      code: 'SAMPLE_NOT_FOUND',
      message: `gone\n  sample: sample-${third[1]}@1`,
    })
    expect(done).toBe(2)
    nothingHeld()
  })

  it('of giving back a lease leaves no batch behind', async () => {
    const broken = new Error('the store is gone')
    const leased = store.getMany.bind(store)
    store.getMany = async (...given) => {
      const [first, ...others] = await leased(...given)
      if (first === undefined) throw new Error('nothing leased')
      const giveBack = async () => {
        await first[Symbol.asyncDispose]()
        throw broken
      }
      return [{ ...first, [Symbol.asyncDispose]: giveBack }, ...others]
    }
    await expect(drain(loader(1), () => undefined)).rejects.toBe(broken)
    nothingHeld()
  })

  it('of collating names every sample of the batch', async () => {
    python.answers['batch.build'] = () => {
      throw finding('FEATURE_INVALID', 'lengths differ', { field: 'loss_mask' })
    }
    const [first] = [...plan.from(0)]
    const names = first?.samples.map((index) => `sample-${index}@1`).join(', ')
    await expect(drain(loader(), () => undefined)).rejects.toMatchObject({
      code: 'FEATURE_INVALID',
      message: expect.stringContaining(`sample: ${names}`),
    })
    nothingHeld()
  })
})

describe('a batch', () => {
  it('is one read of the store, and what lies behind the cut is not read', async () => {
    const long = refs.map((ref, index) => {
      if (index % 2 !== 0) return fakeRef(index, { numTokens: 40 })
      // As long as the cut, and so read whole.
      return index === 0 ? fakeRef(index, { numTokens: 16 }) : ref
    })
    const given = { python, store, refs: long, maxLength: 16, session: 1, prefetch: 1, lost: fakeLosses(8) }
    const steps = [{ ...first(), samples: [1, 0, 3, 2] }]
    await drain(new Loader({ ...given, steps, onLost: () => undefined }), () => undefined)
    expect(store.reads).toEqual([
      { samples: ['sample-0', 'sample-2'], rows: undefined },
      { samples: ['sample-1', 'sample-3'], rows: 16 },
    ])
    // Handles are minted in the order of the reads: 1 and 2, then 3 and 4. The batch has them in the order of the plan.
    expect(python.named('batch.build')).toEqual([{ session: 1, samples: [3, 1, 4, 2], maxLength: 16 }])
  })
})

describe('a damaged sample', () => {
  it('ends the run, named and in quarantine, where none may be lost', async () => {
    const [bad] = first().samples
    store.damaged.add(`sample-${bad}`)
    await expect(drain(loader(), () => undefined)).rejects.toMatchObject({
      code: 'SAMPLE_CORRUPT',
      message: expect.stringMatching(new RegExp(`sample-${bad}[^]*quarantine: the object now lies in quarantine`)),
    })
    expect(store.quarantined).toEqual([`sample-${bad}`])
    nothingHeld()
  })

  it('leaves its place empty where some may be lost, in one batch and in a batch of its own', async () => {
    const [one, two] = [...plan.from(0)]
    for (const index of [one?.samples[0], ...(two?.samples ?? [])]) store.damaged.add(`sample-${index}`)
    const lost: (readonly number[])[] = []
    await drain(loader(2, fakeLosses(8, 0.5)), (batch) => {
      lost.push(batch.lost)
    })
    expect(lost).toEqual([[one?.samples[0]], two?.samples, [], []])
    const built = python.named('batch.build') as { samples: number[] }[]
    expect(built.map(({ samples }) => samples.length)).toEqual([1, 0, 2, 2])
    expect(losses.map(({ ref, error, quarantined }) => [ref.sampleId, error.code, quarantined])).toEqual(
      [one?.samples[0], ...(two?.samples ?? [])].map((index) => [`sample-${index}`, 'SAMPLE_CORRUPT', true]),
    )
    nothingHeld()
  })

  it('ends the run when it is one too many', async () => {
    for (const { ref } of refs.slice(0, 5).map((ref) => ({ ref }))) store.damaged.add(ref.sampleId)
    await expect(drain(loader(2, fakeLosses(8, 0.5)), () => undefined)).rejects.toMatchObject({
      code: 'SAMPLE_CORRUPT',
      details: {
        field: 'train.maxCorruptShare',
        found: expect.stringMatching(/^5 of 8 samples are lost; the largest allowed share is 0.5/),
      },
    })
    nothingHeld()
  })

  it('is not asked for once all ranks know of it', async () => {
    const [bad = -1] = first().samples
    const lost = new LostSamples({ samples: 8, share: 0.5, ahead: 2, known: [{ sample: bad, since: 0 }] })
    await drain(loader(2, lost), () => undefined)
    expect(store.gotten).not.toContain(`sample-${bad}`)
    expect(losses).toEqual([])
  })
})

describe('samples that are consumed once', () => {
  beforeEach(() => {
    store = new FakeStore(python, false)
  })

  it('stay claimed until a checkpoint holds their step, and their memory goes at once', async () => {
    const consuming = loader(1)
    const order = [...plan.from(0)].map(({ samples }) => samples.map((index) => `sample-${index}`))
    await drain(consuming, async ({ step }) => {
      await python.idle()
      expect(python.live.size).toBeLessThanOrEqual(2)
      if (step.cursor === 1) await consuming.durable(1)
      expect(store.acknowledged).toEqual(step.cursor === 0 ? [] : order[0])
      if (step.cursor === 3) await consuming.durable(4)
    })
    expect(store.acknowledged).toEqual(order.flat())
    nothingHeld()
  })

  it('are given back when the run ends without the checkpoint', async () => {
    const failing = drain(loader(3), ({ step }) => {
      if (step.cursor === 2) throw new Error('the engine failed')
    })
    await expect(failing).rejects.toThrow('the engine failed')
    expect(store.acknowledged).toEqual([])
    nothingHeld()
  })

  it('are not handed out a second time', async () => {
    const steps = [...plan.from(0)].map((step, cursor) => ({ ...step, epoch: cursor < 2 ? 0 : 1 }))
    const given = { python, store, refs, steps, maxLength: 16, session: 1, prefetch: 2, lost: fakeLosses(8, 1) }
    let done = 0
    const again = drain(new Loader({ ...given, onLost: () => undefined }), () => {
      done += 1
    })
    await expect(again).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND', message: expect.stringMatching(/epoch 2/) })
    expect(done).toBe(2)
    nothingHeld()
  })
})

function first(): MicroStep {
  const [step] = plan.from(0)
  if (step === undefined) throw new Error('an empty plan')
  return step
}
