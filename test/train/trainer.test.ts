import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { OpInput } from '../../src/bridge/ops.ts'
import { CheckpointFolder } from '../../src/train/checkpoints/checkpoint.ts'
import { Loader } from '../../src/train/data/loader.ts'
import { type StepMetrics, Trainer, type TrainOutcome } from '../../src/train/trainer.ts'
import { deafObserver, FakeEngine, fakeLosses, fakePlan, fakeRef, fakeRun, stepFigures } from './fake-engine.ts'
import { FakeStore } from './fake-store.ts'

const refs = Array.from({ length: 5 }, (_, index) => fakeRef(index))
const plan = fakePlan(refs, { epochs: 3, accumulate: 2 })

let dir: string
let python: FakeEngine
let metrics: StepMetrics[]
let saved: number[]
let asked: AbortController
let store: FakeStore
let damaged: string[]

beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-trainer-'))
  asked = new AbortController()
  metrics = []
  saved = []
  damaged = []
  elsewhere = 0
  python = engine()
})
afterEach(() => rm(dir, { recursive: true, force: true }))

function engine(): FakeEngine {
  const python = new FakeEngine()
  let steps = 0
  python.answers['train.step'] = ({ boundary, stop, lost, saved }: OpInput<'train.step'>) => {
    if (boundary) steps += 1
    return { stepped: boundary, stop: stop && boundary, globalStep: steps, lost: lost + elsewhere, saved, watched: [] }
  }
  python.answers['train.metrics'] = () => ({ ...stepFigures, watched: [] })
  return python
}

/** Samples that another rank has lost, told at every boundary. */
let elsewhere: number

function train({ rank = 0, every = 3, done = 0, lost = fakeLosses(5), retain = true } = {}): Promise<TrainOutcome> {
  store = new FakeStore(python, retain)
  for (const id of damaged) store.damaged.add(id)
  const steps = plan.from(done)
  const given = { refs, steps, maxLength: 8, session: 1, prefetch: 2, lost, onLost: () => undefined }
  const loader = new Loader({ python, store, ...given })
  return new Trainer({
    python,
    session: 1,
    plan,
    loader,
    refs,
    lost,
    rank,
    logInterval: 2,
    validator: null,
    metric: null,
    save: { every, keep: 10 },
    checkpoints: new CheckpointFolder(dir),
    run: fakeRun,
    observer: { ...deafObserver, metrics: (step) => metrics.push(step), checkpoint: (step) => saved.push(step) },
    signal: asked.signal,
  }).run()
}

describe('the loop', () => {
  it('trains every micro-step of the plan with its window, and logs and saves at its intervals and at the end', async () => {
    expect(plan.totalSteps).toBe(8)
    const outcome = await train()
    expect(outcome).toEqual({ step: 8, checkpoint: path.join(dir, 'step-000008'), stopped: false })
    const steps = python.named('train.step') as OpInput<'train.step'>[]
    expect(steps.map(({ window, boundary }) => [window, boundary]).slice(-3)).toEqual([
      [2, false],
      [2, true],
      [1, true],
    ])
    expect(steps).toHaveLength(15)
    expect(metrics.map(({ step }) => step)).toEqual([2, 4, 6, 8])
    expect(saved).toEqual([3, 6, 8])
    expect(python.live.size).toBe(0)
  })

  it('leaves files and reports to rank 0, and yet makes every call that the others wait for', async () => {
    const shared = ({ calls }: FakeEngine) => calls.flatMap(({ op }) => (/^(train|dist)/.test(op) ? [op] : []))
    await train()
    const first = shared(python)
    await rm(dir, { recursive: true })
    metrics = []
    saved = []
    python = engine()
    python.answers['train.snapshot'] = () => ({ handle: null })
    await train({ rank: 1 })
    expect([metrics, saved]).toEqual([[], []])
    await expect(readdir(dir)).rejects.toThrow('ENOENT')
    expect(shared(python)).toEqual(first)
  })

  it('asked to stop, ends at the next boundary with a checkpoint', async () => {
    const stepped = python.answers['train.step']
    python.answers['train.step'] = async (input: never) => {
      if (python.named('train.step').length === 3) asked.abort()
      return stepped?.(input)
    }
    expect(await train()).toMatchObject({ step: 2, stopped: true })
    expect(await readdir(dir)).toEqual(['step-000002'])
    expect(python.live.size).toBe(0)
  })

  it('refuses to go on when the engine is at another step than the plan', async () => {
    await expect(train({ done: 4 })).rejects.toThrow('train.step is at step 0 where the plan is at 4')
    expect(python.live.size).toBe(0)
  })
})

const recordOf = async (step: number) => {
  const text = await readFile(path.join(dir, `step-00000${step}`, 'checkpoint.json'), 'utf8')
  return JSON.parse(text) as { lost: unknown }
}

describe('lost samples', () => {
  it('are told at the boundary of their window, agreed on only there, and kept in the checkpoint', async () => {
    const [, second] = [...plan.from(0)]
    damaged = [`sample-${second?.samples[0]}`]
    python.answers['dist.union'] = ({ numbers }: OpInput<'dist.union'>) => ({ numbers })
    await train({ lost: fakeLosses(5, 0.2) })
    const told = (python.named('train.step') as OpInput<'train.step'>[]).map(({ lost }) => lost)
    // The window of micro-steps 0 and 1 ends at 1; from 1 + 1 + 2 ahead on the sample is not asked for.
    expect(told).toEqual([0, 1, ...new Array<number>(13).fill(0)])
    expect(python.named('dist.union')).toEqual([{ numbers: second?.samples }])
    expect((await recordOf(3)).lost).toEqual([{ sampleId: damaged[0], since: 4 }])
    expect((await recordOf(8)).lost).toEqual([{ sampleId: damaged[0], since: 4 }])
  })

  it('of other ranks count, and one too many ends the run on all ranks at the same step', async () => {
    elsewhere = 1
    python.answers['dist.union'] = () => ({ numbers: [python.named('dist.union').length - 1] })
    await expect(train({ lost: fakeLosses(5, 0.4) })).rejects.toMatchObject({
      code: 'SAMPLE_CORRUPT',
      details: { found: expect.stringMatching(/^3 of 5/) },
    })
    expect(python.named('dist.union')).toHaveLength(3)
    expect(python.live.size).toBe(0)
  })
})

describe('samples that are consumed once', () => {
  it('are acknowledged after the checkpoint of their step, and all of them after the last one', async () => {
    const acknowledged: number[] = []
    python.answers['train.step'] = ({ boundary }: OpInput<'train.step'>) => {
      acknowledged.push(store.acknowledged.length)
      if (python.named('train.step').length === 3) asked.abort()
      const globalStep = Math.floor(python.named('train.step').length / 2)
      const agreed = { stop: boundary && asked.signal.aborted, lost: 0, saved: 0 }
      return { stepped: boundary, globalStep, ...agreed, watched: [] }
    }
    expect(await train({ retain: false, every: 1 })).toMatchObject({ step: 2, stopped: true })
    expect(acknowledged.slice(0, 2)).toEqual([0, 0])
    const order = [...plan.from(0)].slice(0, 4).map(({ samples }) => `sample-${samples[0]}`)
    expect(store.acknowledged).toEqual(order)
    expect(store.leased).toEqual([])
  })
})
