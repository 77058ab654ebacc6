import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { produce } from '../../src/roles/produce/produce.ts'
import { colocate } from '../../src/roles/train/colocate.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { rankProcesses } from '../support/processes.ts'
import { expectNoHandles } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import {
  curve,
  differingBits,
  trainingConfig,
  trainingInputs,
  type Watched,
  watched,
  weights,
} from '../support/training.ts'

interface Ran {
  readonly checkpoint: string
  readonly watched: Watched
}

/** Six rank processes load torch; on a busy machine that takes minutes. */
const FOUR_RUNS_MS = 300_000

let dir: string
const ran: Record<string, Ran> = {}

async function train(name: string, ranks: 1 | 2, local: boolean): Promise<void> {
  const context = watched()
  const role = local ? colocate : consume
  const { checkpoint } = await role(trainingConfig(dir, { name, ranks, local }), context)
  ran[name] = { checkpoint, watched: context }
}

function of(name: string): Ran {
  const found = ran[name]
  if (found === undefined) throw new Error(`${name} did not run`)
  return found
}

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  await produce(trainingConfig(dir, { name: 'producer', ranks: 1 }), watched())
  await Promise.all([train('colocated-1', 1, true), train('disaggregated-1', 1, false)])
  await train('colocated-2', 2, true)
  await train('disaggregated-2', 2, false)
}, FOUR_RUNS_MS)
afterAll(async () => {
  await expectNoHandles()
  expect((await rankProcesses()).size).toBe(0)
})

describe.each([1, 2])('colocated and disaggregated with %i ranks', (ranks) => {
  it('compute the same losses and metrics at every step, over three epochs, to the last bit', () => {
    const [colocated, disaggregated] = [
      curve(of(`colocated-${ranks}`).watched),
      curve(of(`disaggregated-${ranks}`).watched),
    ]
    expect(colocated.map(({ step, epoch }) => [step, epoch])).toEqual([
      [1, 0],
      [2, 0],
      [3, 1],
      [4, 1],
      [5, 1],
      [6, 2],
      [7, 2],
      [8, 2],
    ])
    expect(disaggregated).toEqual(colocated)
    for (const { loss, gradNorm } of colocated)
      expect([loss, gradNorm]).toEqual([expect.any(Number), expect.any(Number)])
  })

  it('end with the same weights and the same optimiser state: 0 differing bits', async () => {
    const [one, other] = [of(`colocated-${ranks}`).checkpoint, of(`disaggregated-${ranks}`).checkpoint]
    expect((await weights(one))['optimizer.safetensors']?.data.length).toBeGreaterThan(100_000)
    expect(await differingBits(one, other)).toBe(0)
  })
})

it('one rank with batches of 2 and two ranks with batches of 1 have the same losses within 1e-5', () => {
  const [one, two] = [curve(of('disaggregated-1').watched), curve(of('disaggregated-2').watched)]
  expect(two).toHaveLength(one.length)
  for (const [index, step] of one.entries()) {
    const other = two[index]
    for (const [mine, theirs] of [
      [step.loss, other?.loss],
      [step.gradNorm, other?.gradNorm],
      ...step.ploss.map((value, at) => [value, other?.ploss[at]]),
    ]) {
      expect(Math.abs((mine ?? 0) - (theirs ?? 1)) / Math.abs(mine ?? 1)).toBeLessThan(1e-5)
    }
  }
})

it('every step trains: no two losses are equal', () => {
  const losses = curve(of('disaggregated-1').watched).map(({ loss }) => loss)
  expect(new Set(losses).size).toBe(losses.length)
})

it('the run says what it does: samples, left-over, steps, checkpoint', () => {
  const { seen } = of('disaggregated-2').watched
  expect(seen[0]).toMatchObject({
    event: 'train.started',
    ranks: 2,
    samples: 11,
    leftOver: 1,
    totalSteps: 8,
    resumedFrom: null,
  })
  expect(seen.at(-1)).toMatchObject({ event: 'train.finished', step: 8, checkpoint: of('disaggregated-2').checkpoint })
})

it('a finished run is left as it is', async () => {
  const context = watched()
  const again = await consume(trainingConfig(dir, { name: 'disaggregated-2', ranks: 2 }), context)
  expect(again).toEqual({ checkpoint: of('disaggregated-2').checkpoint, step: 8 })
  expect(context.seen).toEqual([{ event: 'train.checkpoint', step: 8, dir: again.checkpoint }])
})

it('a run with other settings is refused before a process is started', async () => {
  const other = consume(trainingConfig(dir, { name: 'disaggregated-2', ranks: 2, epochs: 4 }), watched())
  await expect(other).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID', details: { field: 'train.epochs' } })
})

it('the manifest holds refs and no tensors', async () => {
  const manifest = path.join(dir, 'store', 'manifest')
  const texts = await Promise.all((await readdir(manifest)).map((name) => readFile(path.join(manifest, name), 'utf8')))
  // 11 samples of up to 21 tokens x 128 floats: the tensors would be a hundred times as much.
  expect(texts.join('').length).toBeLessThan(11 * 21 * 128)
  expect(texts.join('')).not.toMatch(/(-?\d+\.\d+,){4}/)
})

it('features that are consumed once are gone in the second epoch, which retaining them prevents', async () => {
  const once = trainingConfig(dir, { name: 'once', ranks: 1, retain: false })
  const context = watched()
  await expect(consume(once, context)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  expect(curve(context).map(({ step }) => step)).toEqual([1, 2])
})
