import { readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { smallDisk } from '../../scripts/faults/full-disk.ts'
import type { RunConfig } from '../../src/config/schema.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { CheckpointFolder, verify } from '../../src/train/checkpoints/checkpoint.ts'
import { rankProcesses } from '../support/processes.ts'
import { expectNoHandles } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { curve, differingBits, trainingConfig, trainingInputs, type Watched, watched } from '../support/training.ts'

/** 48 epochs of 5 micro-steps in windows of 2: 120 steps, every second one saved. */
const EVERY = 2
const long = { ranks: 2, epochs: 48 } as const
let dir: string
let whole: { checkpoint: string; watched: Watched }

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  await produce(trainingConfig(dir, { name: 'producer', ranks: 1 }), watched())
  const context = watched()
  const { checkpoint } = await consume(trainingConfig(dir, { name: 'whole', ...long, save: 1000 }), context)
  whole = { checkpoint, watched: context }
}, 300_000)
afterAll(async () => {
  await expectNoHandles()
  expect((await rankProcesses()).size).toBe(0)
})

function saving(name: string, keep: number): RunConfig {
  const config = trainingConfig(dir, { name, ...long })
  return { ...config, train: { ...config.train, save: { every: EVERY, keep } } }
}

/** The checkpoints of a run while one is being saved. */
interface SaveState {
  /** Steps that are staged, with the files of the newest. */
  readonly staged: readonly number[]
  readonly files: readonly string[]
  /** Steps that have a checkpoint. */
  readonly whole: readonly number[]
}

async function saveState(checkpoints: string): Promise<SaveState> {
  // The staged ones first: one that is renamed in between is then seen twice, and never not at all.
  const holder = await holderOf(path.dirname(checkpoints))
  const staged = holder === null ? [] : await stepsIn(holder)
  const newest = staged.at(-1)
  const files = holder === null || newest === undefined ? [] : await namesIn(path.join(holder, stepName(newest)))
  return { staged, files, whole: await stepsIn(checkpoints) }
}

const RECORD = 'checkpoint.json'
const stepName = (step: number): string => `step-${String(step).padStart(6, '0')}`
// A folder may be removed between being listed and being read.
const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => [])

async function stepsIn(folder: string): Promise<readonly number[]> {
  const names = (await namesIn(folder)).filter((name) => name.startsWith('step-'))
  return names.map((name) => Number(name.slice('step-'.length))).sort((a, b) => a - b)
}

/** Where the process that holds the run publishes from. */
async function holderOf(runDir: string): Promise<string | null> {
  const name = (await namesIn(runDir)).find((each) => each.startsWith('.train.holder.'))
  return name === undefined ? null : path.join(runDir, name)
}

/** Moments of a save, by the files that are there. Each has a checkpoint before it that could be lost. */
const moments: Readonly<Record<string, (state: SaveState) => boolean>> = {
  'the folder is made': ({ staged, files }) => staged.length === 1 && files.length === 0,
  'the model is being written': ({ files }) => files.length === 1 && files[0] === 'model.safetensors',
  'the optimiser is being written': ({ files }) => files.includes('optimizer.safetensors') && files.length === 3,
  'everything is written but the record': ({ files }) => files.length === 5 && !files.includes(RECORD),
  'the record is staged': ({ files }) => files.includes(RECORD),
  // Two are kept.
  'it is in its place, and older ones are to go': ({ whole }) => whole.length > 2,
}

/**
 * Kills the process when `reached` gives a state: stops it then, reads the state again while no thread runs, and lets it
 * go on if the moment has passed. Returns the state at the kill; null if the run ended before.
 */
async function killAt(
  pid: number,
  reached: () => Promise<SaveState | null>,
  ended: AbortSignal,
): Promise<SaveState | null> {
  while (!ended.aborted) {
    if ((await reached()) === null) {
      await new Promise((resolve) => setImmediate(resolve))
      continue
    }
    process.kill(pid, 'SIGSTOP')
    while (!(await isStopped(pid))) await new Promise((resolve) => setImmediate(resolve))
    const state = await reached()
    process.kill(pid, state === null ? 'SIGCONT' : 'SIGKILL')
    if (state !== null) return state
  }
  return null
}

/** Whether all threads of a process are stopped. */
async function isStopped(pid: number): Promise<boolean> {
  const tasks = `/proc/${pid}/task`
  const threads = (await readdir(tasks)).map((thread) => path.join(tasks, thread, 'stat'))
  const stats = await Promise.all(threads.map((file) => readFile(file, 'utf8').catch(() => ') T')))
  return stats.every((stat) => /\) T/.test(stat))
}

describe('a SIGKILL of the rank that writes', () => {
  const broken = () => saving('broken', 2)
  const checkpoints = () => path.join(dir, 'broken', 'checkpoints')

  it.each(Object.entries(moments))('while %s does not cost the last good checkpoint', async (_, isMoment) => {
    const ended = new AbortController()
    let killing: Promise<SaveState | null> | undefined
    const context = watched((body) => {
      if (body.event !== 'train.metrics' || killing !== undefined) return
      const reached = async () => {
        const state = await saveState(checkpoints())
        return state.whole.length > 0 && isMoment(state) ? state : null
      }
      killing = rankProcesses().then((ranks) => killAt(ranks.get(0) ?? 0, reached, ended.signal))
      killing.catch(() => undefined)
    })
    const died = expect(consume(broken(), context)).rejects.toMatchObject({
      code: 'RANK_DIED',
      details: { rank: 0, signal: 'SIGKILL' },
    })
    await died.finally(() => ended.abort())
    const state = await killing
    const newest = await new CheckpointFolder(checkpoints()).newest()
    if (state === undefined || state === null || newest === null) throw new Error('nothing was saved')
    expect(newest.record.globalStep).toBe(state.whole.at(-1))
    await expect(verify(newest)).resolves.toBeUndefined()
    expect((await rankProcesses()).size).toBe(0)
  })

  it('costs nothing: after all of them the run ends with bit-equal weights', async () => {
    const context = watched()
    const newest = await new CheckpointFolder(checkpoints()).newest()
    const { checkpoint, step } = await consume(broken(), context)
    expect(step).toBe(120)
    expect(curve(context)).toEqual(curve(whole.watched).slice(newest?.record.globalStep))
    expect(curve(context).length).toBeLessThan(120)
    expect(await differingBits(whole.checkpoint, checkpoint)).toBe(0)
    expect(await namesIn(checkpoints())).toEqual(['step-000118', 'step-000120'])
  })
})

describe('a disk that is full', () => {
  it('ends the run with STORE_FULL on all ranks, keeps what was saved, and the run goes on when there is room', async (context) => {
    const disk = await smallDisk(4)
    if (typeof disk === 'string') return context.skip(disk)
    await using _mounted = disk
    const config = saving('full', 10)
    const run: RunConfig = { ...config, run: { ...config.run, dir: disk.dir } }
    const size = await bytesOf(whole.checkpoint)
    const { bavail, bsize } = await statfs(disk.dir)
    const filler = path.join(disk.dir, 'filler')
    await writeFile(filler, Buffer.alloc(bavail * bsize - Math.round(2.7 * size)))
    await expect(consume(run, watched())).rejects.toMatchObject({
      code: 'STORE_FULL',
      exitCode: 75,
      details: { file: expect.stringContaining('step-000006') },
    })
    expect((await rankProcesses()).size).toBe(0)
    // Nothing half-written takes up the room that is left.
    expect(await namesIn(path.join(disk.dir, 'checkpoints'))).toEqual(['step-000002', 'step-000004'])
    await rm(filler)
    const again = watched()
    const short: RunConfig = { ...run, train: { ...run.train, save: { every: 1000, keep: 1 } } }
    const { checkpoint } = await consume(short, again)
    expect(curve(again)[0]?.step).toBe(5)
    expect(await differingBits(whole.checkpoint, checkpoint)).toBe(0)
  })
})

async function bytesOf(folder: string): Promise<number> {
  const files = (await readdir(folder)).map((name) => readFile(path.join(folder, name)))
  return (await Promise.all(files)).reduce((sum, bytes) => sum + bytes.length, 0)
}
