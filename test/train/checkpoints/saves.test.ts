import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { OpInput } from '../../../src/bridge/ops.ts'
import { finding } from '../../../src/core/errors.ts'
import { CheckpointFolder } from '../../../src/train/checkpoints/checkpoint.ts'
import { Loader } from '../../../src/train/data/loader.ts'
import { Trainer, type TrainOutcome } from '../../../src/train/trainer.ts'
import { deafObserver, FakeEngine, fakeLosses, fakePlan, fakeRef, fakeRun, stepFigures } from '../fake-engine.ts'
import { FakeStore } from '../fake-store.ts'

// One epoch of 15 micro-steps, in windows of 2: 8 steps.
const refs = Array.from({ length: 15 }, (_, index) => fakeRef(index))
const plan = fakePlan(refs, { accumulate: 2 })

let dir: string
let python: FakeEngine
let store: FakeStore
let disk: SlowDisk
let phases: string[]
let saved: number[]
/** What rank 0 says of its checkpoints, where this is another rank. */
let told: number

/** Long, for a machine that is busy with other tests. */
const until = (holds: () => boolean) => vi.waitUntil(holds, { timeout: 60_000, interval: 5 })

/** Ends no write before it is told to. */
class SlowDisk {
  readonly begun: string[] = []
  readonly #waiting: ((error?: Error) => void)[] = []

  write({ dir: folder }: OpInput<'snapshot.write'>): Promise<unknown> {
    this.begun.push(path.basename(folder))
    return new Promise((resolve, reject) => {
      this.#waiting.push((error) => (error === undefined ? resolve({ files: [] }) : reject(error)))
    })
  }

  /** Ends the write that is under way, or the next one, with `error` if there is one. */
  async written(error?: Error): Promise<void> {
    await until(() => this.#waiting.length > 0)
    this.#waiting.shift()?.(error)
  }
}

/** Steps whose save was given up, once nothing of it is left. */
let abandoned: number[]

class WatchedFolder extends CheckpointFolder {
  override async abandon(step: number): Promise<void> {
    await super.abandon(step)
    abandoned.push(step)
  }
}

beforeEach(async () => {
  abandoned = []
  dir = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-saves-'))
  python = new FakeEngine()
  disk = new SlowDisk()
  phases = []
  saved = []
  told = 0
  let steps = 0
  python.answers['train.step'] = ({ boundary, saved: mine }: OpInput<'train.step'>) => {
    if (boundary) steps += 1
    return { stepped: boundary, stop: false, globalStep: steps, lost: 0, saved: mine + told, watched: [] }
  }
  python.answers['train.metrics'] = () => ({ ...stepFigures, watched: [] })
  python.answers['snapshot.write'] = (input: OpInput<'snapshot.write'>) => disk.write(input)
})
afterEach(() => rm(dir, { recursive: true, force: true }))

function train({ every = 2, rank = 0, retain = true } = {}): Promise<TrainOutcome> {
  store = new FakeStore(python, retain)
  const lost = fakeLosses(refs.length)
  const loading = { refs, steps: plan.from(0), maxLength: 8, session: 1, prefetch: 2, lost, onLost: () => undefined }
  const running = new Trainer({
    ...{ python, session: 1, plan, refs, lost, rank, logInterval: 100, validator: null, metric: null },
    loader: new Loader({ python, store, ...loading }),
    save: { every, keep: 10 },
    checkpoints: new WatchedFolder(dir),
    run: fakeRun,
    observer: {
      ...deafObserver,
      phase: (phase) => phases.push(phase),
      checkpoint: (step) => saved.push(step),
    },
    signal: new AbortController().signal,
  }).run()
  // The tests await it late.
  running.catch(() => undefined)
  return running
}

const stepsDone = () => python.named('train.step').length
const recordOf = async (step: number): Promise<unknown> =>
  JSON.parse(await readFile(path.join(dir, `step-00000${step}`, 'checkpoint.json'), 'utf8'))

describe('a save', () => {
  it('does not stop the steps; the next one waits until it is written', async () => {
    const running = train()
    await until(() => phases.at(-1) === 'saving step 4, once the checkpoint of step 2 is written')
    expect([stepsDone(), saved, python.named('train.snapshot').length]).toEqual([8, [], 1])
    await disk.written()
    await until(() => disk.begun.length === 2)
    expect([saved, python.named('train.snapshot').length]).toEqual([[2], 2])
    for (let left = 0; left < 3; left += 1) await disk.written()
    await running
    expect([saved, disk.begun.length, python.live.size]).toEqual([[2, 4, 6, 8], 4, 0])
  })

  it('at the end of the run is complete before the run has ended', async () => {
    let ended = false
    const running = train({ every: 100 }).finally(() => {
      ended = true
    })
    await until(() => disk.begun.length === 1)
    expect(phases.at(-1)).toBe('waiting for the checkpoint of step 8 to be complete')
    expect([ended, saved, python.named('dist.barrier')]).toEqual([false, [], []])
    await disk.written()
    expect(await running).toEqual({ step: 8, checkpoint: path.join(dir, 'step-000008'), stopped: false })
    expect([saved, python.named('dist.barrier').length]).toEqual([[8], 1])
  })

  it('says where the run stood when it was due, not when it was written', async () => {
    const running = train({ every: 5 })
    await until(() => stepsDone() > 12)
    for (let left = 0; left < 2; left += 1) await disk.written()
    await running
    expect(await recordOf(5)).toMatchObject({ globalStep: 5, ...plan.position(5), metric: null })
  })

  it('is finished when the run fails meanwhile', async () => {
    const stepped = python.answers['train.step']
    python.answers['train.step'] = (input: never) => {
      if (stepsDone() === 8) throw new Error('the engine failed')
      return stepped?.(input)
    }
    const running = train({ every: 3 })
    await until(() => stepsDone() === 8)
    await disk.written()
    await expect(running).rejects.toThrow('the engine failed')
    expect([saved, await readdir(dir), python.live.size]).toEqual([[3], ['step-000003'], 0])
    expect(await recordOf(3)).toMatchObject({ globalStep: 3 })
  })
})

describe('a save that fails', () => {
  const full = finding('STORE_FULL', 'no room', { file: 'model.safetensors' })

  it('ends the run at the next step with its error; the one before it stays, and nothing of its own', async () => {
    const stepped = python.answers['train.step']
    python.answers['train.step'] = async (input: never) => {
      // In the middle of step 5, which nothing is saved after.
      if (stepsDone() === 9) {
        await disk.written(full)
        await until(() => abandoned.includes(4))
      }
      return stepped?.(input)
    }
    const running = train()
    await disk.written()
    await expect(running).rejects.toBe(full)
    expect(stepsDone()).toBe(9)
    expect([saved, await readdir(dir), python.live.size]).toEqual([[2], ['step-000002'], 0])
  })

  it('is met at the next save when there was no step in between', async () => {
    const running = train()
    await until(() => phases.at(-1)?.startsWith('saving step 4, once') === true)
    await disk.written(full)
    await expect(running).rejects.toBe(full)
    expect([stepsDone(), python.named('train.snapshot').length]).toEqual([8, 1])
  })

  it('at the end of the run fails the run, and no other rank goes on as if it were saved', async () => {
    const running = train({ every: 100 })
    await disk.written(full)
    await expect(running).rejects.toBe(full)
    expect([await readdir(dir), python.named('dist.barrier')]).toEqual([[], []])
  })

  it('because a step was not finite says what the session knows of that step', async () => {
    const known = finding('FEATURE_INVALID', 'step 2, rank 1', { field: 'loss' })
    python.answers['train.settle'] = () => Promise.reject(known)
    const running = train()
    await disk.written(finding('FEATURE_INVALID', 'some step', { field: 'loss' }))
    await expect(running).rejects.toBe(known)
    expect([await readdir(dir), python.live.size]).toEqual([[], 0])
  })

  it('for want of a folder is coded too', async () => {
    await writeFile(path.join(dir, 'step-000002'), 'in the way')
    const running = train()
    await disk.written()
    await expect(running).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      details: { file: path.join(dir, 'step-000002'), found: expect.stringMatching(/ENOTDIR/) },
    })
    expect(python.live.size).toBe(0)
  })

  it('after it was complete leaves it: what could not be removed is another one', async () => {
    const folder = new CheckpointFolder(dir)
    await folder.begin(1)
    await folder.complete({ ...(await anyRecord()), globalStep: 1 }, 10)
    await folder.abandon(1)
    expect((await folder.newest())?.record.globalStep).toBe(1)
    await folder.begin(2)
    await folder.abandon(2)
    expect(await readdir(dir)).toEqual(['step-000001'])
  })
})

describe('samples that are consumed once', () => {
  const order = [...plan.from(0)].map(({ samples }) => `sample-${samples[0]}`)

  /** Runs `work` in the middle of a micro-step, counted from 1, and notes how many samples were free before each. */
  function during(at: number, work: () => Promise<void> | void): readonly number[] {
    const free: number[] = []
    const stepped = python.answers['train.step']
    python.answers['train.step'] = async (input: never) => {
      free.push(store.acknowledged.length)
      if (free.length === at) await work()
      return stepped?.(input)
    }
    return free
  }

  it('are free when the ranks agree that their checkpoint is complete, and not while it is written', async () => {
    // The window of 7 and 8: what is complete in its middle is told at its end.
    const free = during(7, async () => {
      await disk.written()
      await until(() => saved.length === 1)
    })
    const running = train({ retain: false })
    await until(() => disk.begun.length === 2 && store.acknowledged.length > 0)
    expect(store.acknowledged).toEqual(order.slice(0, 4))
    expect(free.slice(0, 8)).toEqual(new Array(8).fill(0))
    for (let left = 0; left < 3; left += 1) await disk.written()
    await running
    expect(store.acknowledged).toEqual(order)
    expect(store.leased).toEqual([])
  })

  it('are free on the other ranks when they are told, and all of them at the end', async () => {
    python.answers['train.snapshot'] = () => ({ handle: null })
    const free = during(8, () => {
      told = 2
    })
    await train({ rank: 1, retain: false })
    expect(free.slice(0, 8)).toEqual(new Array(8).fill(0))
    expect(Math.max(...free)).toBe(4)
    expect(store.acknowledged).toEqual(order)
    expect([store.leased, disk.begun]).toEqual([[], []])
  })
})

async function anyRecord() {
  return {
    ...{ formatVersion: 1 as const, globalStep: 0, totalSteps: 8, epoch: 0, cursor: 0, worldSize: 1 },
    source: { runId: 'r', storeId: 's', manifestSha256: null },
    identity: {},
    contract: null,
  }
}
