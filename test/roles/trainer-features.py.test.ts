import { execFile } from 'node:child_process'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { resolvedYaml } from '../../src/config/resolved.ts'
import type { EventBody } from '../../src/report/events/events.ts'
import { scalarsOf } from '../../src/report/events/scalars.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { dryRun } from '../../src/roles/train/dry-run.ts'
import { holdersOf } from '../../src/store/coordination/held-keys.ts'
import { openStoreForMaintenance } from '../../src/store/open-for-maintenance.ts'
import { rankProcesses } from '../support/processes.ts'
import { expectNoHandles, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainHere } from '../support/train-here.ts'
import {
  curve,
  differingBits,
  pythonProgram,
  trainingConfig,
  trainingInputs,
  type Watched,
  watched,
} from '../support/training.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))
const execute = promisify(execFile)
let dir: string
beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  await produce(trainingConfig(dir, { name: 'producer', ranks: 1 }), watched())
}, 120_000)
afterEach(expectNoHandles)
afterAll(async () => expect((await rankProcesses()).size).toBe(0))

type Of<K extends EventBody['event']> = Extract<EventBody, { event: K }>
const all = <K extends EventBody['event']>({ seen }: Pick<Watched, 'seen'>, event: K): Of<K>[] =>
  seen.filter((body): body is Of<K> => body.event === event)

async function train(name: string, change: object, given: Partial<Parameters<typeof trainingConfig>[1]> = {}) {
  const context = watched()
  const config = trainingConfig(dir, { name, ranks: 1, maxSteps: 4, train: change, ...given })
  const { checkpoint } = await trainHere(config, context)
  return { checkpoint, ...context }
}

describe('memory and throughput', () => {
  it('are told by part, after the first step and at the end, and as a share of what the device can do', async () => {
    const run = await train('plain', {})
    expect(all(run, 'train.memory').map(({ at, step }) => [at, step])).toEqual([
      ['start', 1],
      ['end', 4],
    ])
    const [started] = all(run, 'train.started')
    for (const { memory } of all(run, 'train.memory')) {
      const bytes = 4 * (started?.parameters ?? 0)
      expect(memory).toMatchObject({ parameters: bytes, gradients: bytes, optimizer: 2 * bytes, allocated: null })
      expect(memory.batches).toBeGreaterThan(0)
      expect(memory.host).toBeGreaterThan(2 ** 27)
    }
    expect(started?.peakTflops).toBeGreaterThan(1e-4)
    expect(all(run, 'train.metrics')).toHaveLength(4)
    for (const { tflops, peakShare } of all(run, 'train.metrics')) {
      expect(tflops).toBeGreaterThan(0)
      expect(peakShare).toBeCloseTo((tflops ?? 0) / (started?.peakTflops ?? 0), 9)
    }
  })
})

describe('TensorBoard files', () => {
  it('hold the same figures as the events, also after a restart that does steps again', async () => {
    const first = await train('board', {
      tensorboard: true,
      save: { every: 2, keep: 3 },
      validation: { share: 0.3, every: 2 },
    })
    await rm(path.join(dir, 'board', 'checkpoints', 'step-000004'), { recursive: true })
    const second = await train('board', {
      tensorboard: true,
      save: { every: 2, keep: 3 },
      validation: { share: 0.3, every: 2 },
    })
    expect(all(second, 'train.started')).toMatchObject([{ resumedFrom: 2 }])
    const before = (body: EventBody) => (scalarsOf(body)?.step ?? 0) <= 2
    const expected = curvesOf([...first.seen.filter(before), ...second.seen])
    expect(Object.keys(expected)).toEqual(expect.arrayContaining(['train/loss', 'validation/simulated_accept_length']))
    expect(expected['train/loss']?.map(([step]) => step)).toEqual([1, 2, 3, 4])
    expect(await points(path.join(dir, 'board', 'tensorboard'))).toEqual(expected)
  })

  it('are not there unless they are asked for', async () => {
    await train('no-board', {})
    expect(await readdir(path.join(dir, 'no-board'))).toEqual(['checkpoints'])
  })
})

/** The points that events have for curves; TensorBoard keeps 32 bits of each. */
function curvesOf(bodies: readonly EventBody[]): Readonly<Record<string, [number, number][]>> {
  const curves: Record<string, [number, number][]> = {}
  for (const { step, values } of bodies.flatMap((body) => scalarsOf(body) ?? []))
    for (const [tag, value] of Object.entries(values)) {
      const curve = curves[tag] ?? []
      curve.push([step, Math.fround(value)])
      curves[tag] = curve
    }
  return curves
}

/** What TensorBoard itself reads. */
async function points(folder: string): Promise<unknown> {
  const code = [
    'import json, sys',
    'from tensorboard.backend.event_processing.event_accumulator import EventAccumulator',
    'found = EventAccumulator(sys.argv[1]); found.Reload()',
    'print(json.dumps({t: [[s.step, s.value] for s in found.Scalars(t)] for t in found.Tags()["scalars"]}))',
  ]
  const { stdout } = await execute(pythonProgram, ['-c', code.join('\n'), folder])
  return JSON.parse(stdout)
}

describe('deterministic mode', () => {
  it('is on in the process that trains, is part of the run, and on a CPU changes no bit', async () => {
    const plain = await train('usual', {})
    const strict = await train('strict', { deterministic: true })
    expect(all(strict, 'train.started')).toMatchObject([{ deterministic: true }])
    expect(curve(strict)).toEqual(curve(plain))
    expect(await differingBits(strict.checkpoint, plain.checkpoint)).toBe(0)
    await expect(train('usual', { deterministic: true })).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      details: { field: 'train.deterministic' },
    })
  })
})

describe('a loss that breaks', () => {
  const breaking = { optimizer: { lr: 1e30, warmupRatio: 0, schedule: 'constant' as const } }

  it('ends the run with the samples of that step, in the error and in an event, whoever trained on them', async () => {
    const context = watched()
    const config = trainingConfig(dir, { name: 'broken', ranks: 2, train: breaking })
    const error: unknown = await consume(config, context).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'FEATURE_INVALID', exitCode: 65 })
    const [found] = all(context, 'train.notFinite')
    const message = error instanceof Error ? error.message : ''
    expect(message).toContain(`non-finite at optimiser step ${found?.step}`)
    // Windows of two micro-steps of one sample a rank.
    expect(found?.samples.map(({ rank, sampleIds }) => [rank, sampleIds.length])).toEqual([
      [0, 2],
      [1, 2],
    ])
    for (const id of found?.samples.flatMap(({ sampleIds }) => sampleIds) ?? []) expect(message).toContain(id)
  })
})

describe('spikes', () => {
  it('are told with the step and its samples', async () => {
    // A rate that makes the loss jump about, and a factor that takes little for a spike.
    const wild = { optimizer: { lr: 1, warmupRatio: 0, schedule: 'constant' as const }, spikes: { factor: 0.01 } }
    const run = await train('wild', { ...wild, logInterval: 7 }, { epochs: 15, maxSteps: 36 })
    const spikes = all(run, 'train.spike')
    expect(spikes.length).toBeGreaterThan(0)
    for (const { step, value, typical, samples } of spikes) {
      expect(step).toBeGreaterThan(20)
      expect(value).toBeGreaterThan(typical)
      expect(samples.map(({ rank, sampleIds }) => [rank, sampleIds.length])).toEqual([[0, 4]])
    }
    const quiet = await train('quiet', { ...wild, spikes: null, logInterval: 7 }, { epochs: 15, maxSteps: 36 })
    expect(all(quiet, 'train.spike')).toEqual([])
    expect(curve(quiet)).toEqual(curve(run))
  })
})

describe('a dry run', () => {
  it('makes one step on all ranks, and leaves the run and the store as they were, and no claim', async () => {
    await produce(trainingConfig(dir, { name: 'once-producer', ranks: 1, store: 'once' }), watched())
    const config = trainingConfig(dir, { name: 'rehearsed', ranks: 2, store: 'once', retain: false, epochs: 1 })
    const before = await tree(path.join(dir, 'once'))
    const context = watched()
    const found = await dryRun(config, context)
    expect(found).toMatchObject({ step: 1, totalSteps: 3, ranks: 2, microSteps: 2, loss: expect.any(Number) })
    expect(found?.memory.parameters).toBeGreaterThan(0)
    expect(all(context, 'train.rehearsed')).toEqual([found])
    expect(await tree(path.join(dir, 'once'))).toEqual(before)
    expect(await claimants(path.join(dir, 'once'))).toEqual([])
    await expect(readdir(config.run.dir)).rejects.toThrow('ENOENT')
    const real = watched()
    await consume(config, real)
    // The step that was rehearsed is the one that the real run makes.
    expect(curve(real)[0]).toMatchObject({ step: 1, loss: found?.loss, gradNorm: found?.gradNorm })
  })

  it('goes on from the newest checkpoint, and has nothing to do when the run is finished', async () => {
    const name = 'halfway'
    await train(name, {}, { maxSteps: 4, save: 2 })
    await rm(path.join(dir, name, 'checkpoints', 'step-000004'), { recursive: true })
    const before = await tree(path.join(dir, name))
    const config = trainingConfig(dir, { name, ranks: 1, maxSteps: 4, save: 2 })
    expect(await dryRun(config, watched())).toMatchObject({ step: 3 })
    expect(await tree(path.join(dir, name))).toEqual(before)
    await train(name, {}, { maxSteps: 4, save: 2 })
    expect(await dryRun(config, watched())).toBeNull()
  })

  it('is a flag of train: JSON on stdout, the rest on stderr, exit 0', async () => {
    const config = trainingConfig(dir, { name: 'by-hand', ranks: 1 })
    const file = path.join(dir, 'by-hand.yaml')
    await writeFile(file, resolvedYaml(config))
    const args = ['--import', 'tsx', 'src/cli/main.ts', 'train', '-c', file, '--dry-run', '--json']
    const { stdout, stderr } = await execute(process.execPath, args, { cwd: checkout })
    expect(JSON.parse(stdout)).toMatchObject({ event: 'train.rehearsed', step: 1 })
    expect(stderr).toContain('works; nothing was written to disk')
    await expect(readdir(config.run.dir)).rejects.toThrow('ENOENT')
  })
})

/** Every file of a folder with its text; of a store without the books that each member keeps. */
/** Who has claims on samples of the store. */
async function claimants(root: string): Promise<readonly string[]> {
  await using store = await openStoreForMaintenance({ python, root, auth: null, keyFile: null })
  return [...(await holdersOf(store.parts.coordination.notes, 'claims')).keys()]
}

/** Without notes that every client leaves: a claim that was given back is one. */
async function tree(folder: string): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {}
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name)
    const name = path.relative(folder, file)
    if (entry.isFile() && !/^notes\/(epochs|members|usage|claims)/.test(name))
      found[name] = await readFile(file, 'base64')
  }
  return found
}
