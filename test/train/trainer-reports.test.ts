import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { OpInput } from '../../src/bridge/ops.ts'
import { CheckpointFolder } from '../../src/train/checkpoints/checkpoint.ts'
import { Loader } from '../../src/train/data/loader.ts'
import { type StepMetrics, Trainer, type TrainOutcome } from '../../src/train/trainer.ts'
import { validationRounds } from '../../src/train/validation/validation-rounds.ts'
import { Validator } from '../../src/train/validation/validator.ts'
import { deafObserver, FakeEngine, fakeLosses, fakePlan, fakeRef, fakeRun, stepFigures } from './fake-engine.ts'
import { FakeStore } from './fake-store.ts'

// What the loop tells besides training: five samples to train on, three to look at, eight steps.
const refs = Array.from({ length: 5 }, (_, index) => fakeRef(index))
const heldOut = Array.from({ length: 3 }, (_, index) => fakeRef(5 + index))
const plan = fakePlan(refs, { epochs: 3, accumulate: 2 })

let dir: string
let python: FakeEngine
let metrics: StepMetrics[]
let seen: number[]
let validated: [number, number | null][]
let weighed: [string, number][]
let asked: AbortController
let store: FakeStore
let damaged: string[]

beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-trainer-'))
  asked = new AbortController()
  metrics = []
  seen = []
  validated = []
  weighed = []
  damaged = []
  python = engine()
})
afterEach(() => rm(dir, { recursive: true, force: true }))

function engine(): FakeEngine {
  const python = new FakeEngine()
  let [steps, told] = [0, 0]
  /** Each step once, up to this one. */
  const stepsUpTo = (last: number) => {
    const watched = Array.from({ length: last - told }, (_, at) => ({ step: told + 1 + at, loss: 1, gradNorm: 1 }))
    told = last
    return watched
  }
  python.answers['train.step'] = ({ boundary, stop, lost }: OpInput<'train.step'>) => {
    if (boundary) steps += 1
    // As on a GPU, where the host sees a step once the next one is under way.
    const watched = boundary && steps - 1 > told ? stepsUpTo(steps - 1) : []
    return { stepped: boundary, stop: stop && boundary, globalStep: steps, lost, saved: 0, watched }
  }
  // It waits for the device, and so has seen every step.
  python.answers['train.metrics'] = () => ({ ...stepFigures, watched: stepsUpTo(steps) })
  const { loss, ploss, acceptanceRate, tokens, lossTokens } = stepFigures
  const found = { loss, ploss, acceptanceRate, tokens, lossTokens, acc: [0.5, 0.5], samples: 2 }
  python.answers['train.validation'] = () => found
  return python
}

/** For a quarter of all time the loop waits for its data. */
class WaitingLoader extends Loader {
  override get waitedMs(): number {
    return performance.now() / 4
  }
}

interface Given {
  readonly rank?: number
  readonly every?: number
  readonly retain?: boolean
  readonly validateEvery?: number
  /** The share of samples that may be lost. */
  readonly mayLose?: number
}

function train(given: Given = {}): Promise<TrainOutcome> {
  const { rank = 0, every = 3, retain = true, validateEvery = null, mayLose = 0 } = given
  store = new FakeStore(python, retain)
  for (const id of damaged) store.damaged.add(id)
  const lost = fakeLosses(5)
  const reading = { python, store, maxLength: 8, session: 1, prefetch: 2, onLost: () => undefined }
  const rounds = validationRounds([4, 4, 4], { batch: { samples: 1 }, worldSize: 2, rank })
  const looking = { ...reading, refs: heldOut, rounds, mayLose: { samples: 8, share: mayLose } }
  return new Trainer({
    ...{ python, session: 1, plan, refs, lost, rank, logInterval: 2, metric: null, run: fakeRun },
    loader: new WaitingLoader({ ...reading, refs, lost, steps: plan.from(0) }),
    validator: validateEvery === null ? null : new Validator({ ...looking, every: validateEvery }),
    save: { every, keep: 10 },
    checkpoints: new CheckpointFolder(dir),
    observer: {
      ...deafObserver,
      metrics: (step) => metrics.push(step),
      watched: (steps) => seen.push(...steps.map(({ step }) => step)),
      validation: ({ step, simulatedAcceptLength }) => validated.push([step, simulatedAcceptLength]),
      memory: ({ at, step }) => weighed.push([at, step]),
    },
    signal: asked.signal,
  }).run()
}

/** Runs `work` each time that the engine has answered `op`. */
function passing(op: 'train.step' | 'train.validation', work: () => void): void {
  const answer = python.answers[op]
  python.answers[op] = async (input: never) => {
    const reply = await answer?.(input)
    work()
    return reply
  }
}

const recordOf = async (step: number) => {
  const text = await readFile(path.join(dir, `step-00000${step}`, 'checkpoint.json'), 'utf8')
  return JSON.parse(text) as { metric: unknown }
}

describe('what is told of steps', () => {
  it('is every step once and in order, however late the host sees it', async () => {
    await train()
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('is the memory after the first step and at the end, and the rate of operations with the metrics', async () => {
    await train({ rank: 0 })
    expect(metrics.map(({ dataWaitShare }) => dataWaitShare.toFixed(2))).toEqual(new Array(4).fill('0.25'))
    expect(weighed).toEqual([
      ['start', 1],
      ['end', 8],
    ])
    expect(metrics[0]?.flopsPerSecond).toBeGreaterThan((metrics[0]?.tokensPerSecond ?? 0) * 100)
  })
})

describe('validation', () => {
  it('comes at its interval and at the end, before the checkpoint, which says what it found', async () => {
    await train({ validateEvery: 3 })
    expect(validated).toEqual([
      [3, 0.75],
      [6, 0.75],
      [8, 0.75],
    ])
    const calls = python.calls.map(({ op }) => op).filter((op) => op === 'train.validation' || op === 'train.snapshot')
    expect(calls.slice(0, 2)).toEqual(['train.validation', 'train.snapshot'])
    expect((await recordOf(3)).metric).toBe(0.75)
    expect(python.live.size).toBe(0)
    expect(store.leased).toEqual([])
  })

  it('waits for the device first, so that no training is taken for its time', async () => {
    await train({ validateEvery: 3 })
    const calls = python.calls.map(({ op }) => op).filter((op) => op === 'train.settle' || op === 'train.validate')
    expect(calls.slice(0, 3)).toEqual(['train.settle', 'train.validate', 'train.validate'])
  })

  it('takes no time of the training: the rate of tokens does not know of it', async () => {
    // Time by hand: a micro-step takes one second, a validation ten minutes.
    let now = 0
    const time = vi.spyOn(performance, 'now').mockImplementation(() => now)
    onTestFinished(() => void time.mockRestore())
    passing('train.step', () => (now += 1000))
    passing('train.validation', () => (now += 600_000))
    await train({ validateEvery: 3 })
    // Two steps of two micro-steps each; the run's very last step is one of one.
    expect(metrics.map(({ tokensPerSecond }) => tokensPerSecond)).toEqual([2, 2, 2, 8 / 3])
  })

  it('has as many rounds on a rank with fewer samples', async () => {
    await train({ validateEvery: 8 })
    const first = python.named('train.validate').length
    python = engine()
    await train({ validateEvery: 8, rank: 1 })
    expect([first, python.named('train.validate').length]).toEqual([2, 2])
    const built = python.named('batch.build') as OpInput<'batch.build'>[]
    expect(built.filter(({ samples }) => samples.length === 0)).toHaveLength(1)
  })

  it('does not keep somebody waiting who asked to stop', async () => {
    asked.abort()
    expect(await train({ validateEvery: 1 })).toMatchObject({ step: 1, stopped: true })
    expect(validated).toEqual([])
  })

  it('meets a damaged sample once, tells of it, and goes on without it if the run may', async () => {
    damaged = ['sample-5']
    await train({ validateEvery: 2, mayLose: 0.2 })
    expect(store.quarantined).toEqual(['sample-5'])
    expect(store.reads.filter(({ samples }) => samples.includes('sample-5'))).toHaveLength(1)
    expect(validated).toHaveLength(4)
    damaged = ['sample-5']
    python = engine()
    await expect(train({ validateEvery: 2 })).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT' })
    expect(python.live.size).toBe(0)
  })

  it('gives claims back, for the next time', async () => {
    // The second epoch of samples that are consumed once ends the run.
    await expect(train({ validateEvery: 1, retain: false, every: 1 })).rejects.toMatchObject({
      code: 'SAMPLE_NOT_FOUND',
    })
    expect(validated.map(([step]) => step)).toEqual([1, 2])
    expect(store.gotten.filter((id) => id === 'sample-5')).toHaveLength(2)
    expect(store.acknowledged.filter((id) => Number(id.split('-')[1]) >= 5)).toEqual([])
    expect(store.leased).toEqual([])
    expect(python.live.size).toBe(0)
  })
})
