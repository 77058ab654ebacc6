import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { StoreId } from '../../src/core/ids.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import { cleanStore } from '../../src/roles/maintain/store-gc.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { batchPlan } from '../../src/train/data/batch-plan.ts'
import { rankProcesses } from '../support/processes.ts'
import { expectNoHandles } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { curve, differingBits, trainingConfig, trainingInputs, type Watched, watched } from '../support/training.ts'

/** 120 samples, global batches of 2 in windows of 2: 30 steps, and no sample left over. */
const SAMPLES = 120
const once = { ranks: 2, epochs: 1, save: 3 } as const
let dir: string
let afterKill: readonly string[]
let whole: { checkpoint: string; watched: Watched }

const broken = () => trainingConfig(dir, { name: 'broken', ...once, retain: false })

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir, SAMPLES)
  await produce(trainingConfig(dir, { name: 'producer', ranks: 1 }), watched())
  const context = watched()
  const { checkpoint } = await consume(trainingConfig(dir, { name: 'whole', ...once }), context)
  whole = { checkpoint, watched: context }
}, 300_000)
afterAll(expectNoHandles)

/** The samples that are in the store, by id. */
async function stored(): Promise<ReadonlySet<string>> {
  const names = await readdir(path.join(dir, 'store', 'objects'), { recursive: true })
  return new Set(names.flatMap((name) => /([^/]+)\.\d+\.safetensors$/.exec(name)?.[1] ?? []))
}

/** Claims and leases that the store knows of. */
async function notes(): Promise<readonly string[]> {
  const folders = ['claims', 'leases'].map((part) => path.join(dir, 'store', 'notes', part))
  return (await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])))).flat()
}

/** Ids in the order of the plan, two for each micro-step. */
async function planned(): Promise<readonly string[]> {
  const { root } = broken().store
  const { storeId } = JSON.parse(await readFile(path.join(root, 'store.json'), 'utf8')) as { storeId: StoreId }
  const { refs } = await readRefManifest({ dir: broken().manifest, storeId })
  const { train, run } = broken()
  const lengths = [...refs].map(({ numTokens }) => Math.min(numTokens, 18))
  const plan = batchPlan(lengths, { ...train, batch: { samples: 2 }, seed: run.seed, worldSize: 1, rank: 0 })
  return [...plan.from(0)].flatMap(({ samples }) => samples.map((index) => [...refs][index]?.sampleId ?? ''))
}

async function newestCursor(): Promise<number> {
  const folder = path.join(dir, 'broken', 'checkpoints')
  const cursors = (await readdir(folder)).map(async (name) => {
    const text = await readFile(path.join(folder, name, 'checkpoint.json'), 'utf8').catch(() => '{"cursor":0}')
    return (JSON.parse(text) as { cursor: number }).cursor
  })
  return Math.max(...(await Promise.all(cursors)))
}

describe('features that are consumed once', () => {
  it('are still there after a SIGKILL in mid-epoch, all that the newest checkpoint does not hold', async () => {
    const context = watched((body) => {
      if (body.event !== 'train.metrics' || body.step !== 10) return
      void rankProcesses().then((ranks) => {
        for (const pid of ranks.values()) process.kill(pid, 'SIGKILL')
      })
    })
    await expect(consume(broken(), context)).rejects.toMatchObject({ code: 'RANK_DIED' })
    afterKill = await notes()
    const [left, order, cursor] = [await stored(), await planned(), await newestCursor()]
    expect(cursor).toBeGreaterThanOrEqual(6)
    expect(cursor).toBeLessThan(60)
    expect(order.slice(2 * cursor).filter((id) => !left.has(id))).toEqual([])
    expect(left.size).toBeLessThan(SAMPLES)
  })

  it('give, after the restart, the weights of a run that was never killed, and the store is empty at its end', async () => {
    const context = watched()
    const { checkpoint, step } = await consume(broken(), context)
    expect(step).toBe(30)
    const [resumed] = context.seen.flatMap((body) => (body.event === 'train.started' ? [body.resumedFrom] : []))
    expect(resumed).toBeGreaterThanOrEqual(3)
    expect(curve(context)).toEqual(curve(whole.watched).slice(resumed ?? 0))
    expect(await differingBits(whole.checkpoint, checkpoint)).toBe(0)
    expect([...(await stored())]).toEqual([])
    // A kill may hit a rank between a sample and the last of its notes. The restart leaves no more than that; gc takes it.
    const left = await notes()
    expect(left.filter((note) => !afterKill.includes(note))).toEqual([])
    const place = { root: broken().store.root, config: null, keyFile: null }
    await cleanStore(place, { manifests: [], graceMs: 0, dryRun: false, signal: context.signal })
    expect(await notes()).toEqual([])
  })
})
