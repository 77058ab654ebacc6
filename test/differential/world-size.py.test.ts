import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { rankProcesses } from '../support/processes.ts'
import { expectNoHandles } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { curve, trainingConfig, trainingInputs, type Watched, watched } from '../support/training.ts'

type Ranks = 1 | 2
const STOP_AFTER = 5
let dir: string
const whole = new Map<Ranks, Watched>()

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  await produce(trainingConfig(dir, { name: 'producer', ranks: 1 }), watched())
  for (const ranks of [1, 2] as const) {
    const context = watched()
    await consume(trainingConfig(dir, { name: `whole-${ranks}`, ranks, epochs: 16 }), context)
    whole.set(ranks, context)
  }
}, 300_000)
afterAll(async () => {
  await expectNoHandles()
  expect((await rankProcesses()).size).toBe(0)
})

/** The numbers of a step that do not depend on who computed which part of it, up to rounding. */
function numbers(context: Watched | undefined): readonly (readonly (number | null)[])[] {
  if (context === undefined) throw new Error('it did not run')
  return curve(context).map(({ step, loss, gradNorm, ploss, lr }) => [step, lr, loss, gradNorm, ...ploss])
}

function expectClose(found: readonly (readonly (number | null)[])[], expected: typeof found): void {
  expect(found.map(([step]) => step)).toEqual(expected.map(([step]) => step))
  for (const [at, row] of expected.entries()) {
    for (const [column, value] of row.entries()) {
      const difference = Math.abs((found[at]?.[column] ?? Number.NaN) - (value ?? Number.NaN))
      expect(difference / Math.abs(value ?? Number.NaN)).toBeLessThan(1e-5)
    }
  }
}

// Batches of 2 samples on one rank, of 1 on each of two: the global batch is the same, and so is the order of samples.
it.each([
  [1, 2],
  [2, 1],
] as const)(
  'a run of %i rank(s) goes on with %i: the same steps, and the same losses within 1e-5',
  async (first, then) => {
    const name = `from-${first}-to-${then}`
    const stopped = watched((body) => {
      if (body.event === 'train.metrics' && body.step === STOP_AFTER) stopped.abort.abort('SIGTERM')
    })
    const begun = consume(trainingConfig(dir, { name, ranks: first, epochs: 16 }), stopped)
    await expect(begun).rejects.toMatchObject({ code: 'INTERRUPTED' })
    const resumed = watched()
    const { checkpoint, step } = await consume(trainingConfig(dir, { name, ranks: then, epochs: 16 }), resumed)
    expect(step).toBe(40)
    const [started] = resumed.seen.flatMap((body) => (body.event === 'train.started' ? [body] : []))
    expect(started).toMatchObject({ ranks: then })
    const resumedFrom = started?.resumedFrom ?? 0
    expect(resumedFrom).toBeGreaterThanOrEqual(STOP_AFTER)
    expect(resumedFrom).toBeLessThan(step)
    const trained = [...numbers(stopped), ...numbers(resumed)]
    expectClose(trained, numbers(whole.get(first)))
    expectClose(trained, numbers(whole.get(then)))
    // Until the change every bit is that of the run that never stopped.
    expect(curve(stopped)).toEqual(curve(whole.get(first) ?? stopped).slice(0, resumedFrom))
    const record = JSON.parse(await readFile(path.join(checkpoint, 'checkpoint.json'), 'utf8')) as object
    expect(record).toMatchObject({ worldSize: then, globalStep: 40 })
  },
)
