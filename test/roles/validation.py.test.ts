import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { EventBody } from '../../src/report/events/events.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { rankProcesses } from '../support/processes.ts'
import { expectNoHandles } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainHere } from '../support/train-here.ts'
import {
  curve,
  differingBits,
  otherInputs,
  trainingConfig,
  trainingInputs,
  type Watched,
  watched,
} from '../support/training.ts'

let dir: string
beforeAll(async () => {
  dir = await tempDir()
  await Promise.all([trainingInputs(dir), otherInputs(dir)])
  await produce(trainingConfig(dir, { name: 'producer', ranks: 1 }), watched())
  await produce(trainingConfig(dir, { name: 'other-producer', ranks: 1, other: true }), watched())
}, 120_000)
afterEach(expectNoHandles)
afterAll(async () => expect((await rankProcesses()).size).toBe(0))

type Change = Parameters<typeof trainingConfig>[1]
async function train(change: Partial<Change> & { name: string; validation: object | null }, context = watched()) {
  const { validation, train = {}, ...given } = change
  const config = trainingConfig(dir, { ranks: 1, maxSteps: 4, train: { ...train, validation }, ...given })
  const { checkpoint } =
    config.launch.ranksPerNode === 1 ? await trainHere(config, context) : await consume(config, context)
  return { checkpoint, ...context }
}

type Validation = Extract<EventBody, { event: 'train.validation' }>
const validations = ({ seen }: Pick<Watched, 'seen'>): Validation[] =>
  seen.filter((body): body is Validation => body.event === 'train.validation')
const started = ({ seen }: Pick<Watched, 'seen'>) => seen.find((body) => body.event === 'train.started')
const other = () => path.join(dir, 'store', 'other-manifest')

describe('validation', () => {
  it('on samples of their own changes not one bit of the training', async () => {
    const off = await train({ name: 'off', validation: null })
    const on = await train({ name: 'on', validation: { manifest: other(), every: 1 } })
    expect(validations(off)).toEqual([])
    expect(validations(on).map(({ step, samples }) => [step, samples])).toEqual([1, 2, 3, 4].map((step) => [step, 5]))
    expect(curve(on)).toEqual(curve(off))
    expect(await differingBits(on.checkpoint, off.checkpoint)).toBe(0)
  })

  it('on a share of the samples changes no bit either, however often it comes', async () => {
    const seldom = await train({ name: 'seldom', validation: { share: 0.3, every: 100 } })
    const often = await train({ name: 'often', validation: { share: 0.3, every: 1 } })
    expect(started(often)).toMatchObject({ samples: 8, heldOut: 3 })
    expect(validations(seldom).map(({ step }) => step)).toEqual([4])
    expect(validations(often).map(({ step }) => step)).toEqual([1, 2, 3, 4])
    expect(validations(often).at(-1)?.loss).toBe(validations(seldom).at(-1)?.loss)
    expect(curve(often)).toEqual(curve(seldom))
    expect(await differingBits(often.checkpoint, seldom.checkpoint)).toBe(0)
    const text = await readFile(path.join(often.checkpoint, 'checkpoint.json'), 'utf8')
    expect(JSON.parse(text)).toMatchObject({ metric: validations(often).at(-1)?.simulatedAcceptLength })
  })

  it('finds the same with two ranks as with one, though three samples do not divide by two', async () => {
    const [alone, both] = [
      await train({ name: 'alone', validation: { share: 0.3, every: 2 } }),
      await train({ name: 'both', ranks: 2, validation: { share: 0.3, every: 2 } }),
    ]
    const [mine, theirs] = [validations(alone), validations(both)]
    expect(mine.map(({ step, samples }) => [step, samples])).toEqual([
      [2, 3],
      [4, 3],
    ])
    expect(theirs.map(({ step, samples, tokens, lossTokens }) => [step, samples, tokens, lossTokens])).toEqual(
      mine.map(({ step, samples, tokens, lossTokens }) => [step, samples, tokens, lossTokens]),
    )
    for (const [at, { loss, ploss, acceptanceRate, simulatedAcceptLength }] of mine.entries()) {
      const found = theirs[at]
      const close = (a: number | null | undefined, b: number | null) => expect(a).toBeCloseTo(b ?? Number.NaN, 5)
      close(found?.loss, loss)
      close(found?.simulatedAcceptLength, simulatedAcceptLength)
      for (const [k, value] of ploss.entries()) close(found?.ploss[k], value)
      for (const [k, value] of acceptanceRate.entries()) close(found?.acceptanceRate[k], value)
    }
  })

  it('goes on after a stop with the same samples, and ends with the same figures and bits', async () => {
    const whole = await train({ name: 'whole', validation: { share: 0.3, every: 2 } })
    const stopping = watched((body) => {
      if (body.event === 'train.metrics' && body.step === 1) stopping.abort.abort('SIGTERM')
    })
    const parts = { name: 'parts', validation: { share: 0.3, every: 2 } }
    expect(await train(parts, stopping)).toMatchObject({ checkpoint: expect.stringMatching(/step-00000[12]$/) })
    expect(validations(stopping).length).toBeLessThan(2)
    const rest = await train(parts)
    expect(validations(rest).at(-1)).toMatchObject({ ...validations(whole).at(-1), seconds: expect.any(Number) })
    expect(await differingBits(rest.checkpoint, whole.checkpoint)).toBe(0)
  })

  it('is part of what makes a run the same run, but not how often it comes', async () => {
    const refused = (validation: object | null) =>
      expect(train({ name: 'whole', validation })).rejects.toMatchObject({
        code: 'CHECKPOINT_INVALID',
        details: { field: 'train.validation' },
      })
    await refused(null)
    await refused({ share: 0.2 })
    await refused({ share: 0.3, limit: 2 })
    await refused({ manifest: other() })
    await train({ name: 'whole', validation: { share: 0.3, every: 7 } })
  })
})

describe('settings that cannot work', () => {
  it.each([
    ['every sample', { share: 0.99 }, 'train.validation.share'],
    ['a sample that is trained on', { manifest: 'same' }, 'train.validation.manifest'],
  ])('to hold out %s is CONFIG_INVALID', async (_, validation, field) => {
    const same = path.join(dir, 'store', 'manifest')
    const given = 'manifest' in validation ? { manifest: same } : validation
    await expect(train({ name: 'never', validation: given })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field },
    })
  })
})

describe('samples that are consumed once', () => {
  it('are held out, read again and again, and gone when the run is at its end', async () => {
    await produce(trainingConfig(dir, { name: 'once-producer', ranks: 1, store: 'once' }), watched())
    const given = { store: 'once', retain: false, epochs: 1, maxSteps: null } as const
    const found = await train({ name: 'once', ...given, validation: { share: 0.3, every: 1 } })
    expect(validations(found).map(({ step, samples }) => [step, samples])).toEqual([
      [1, 3],
      [2, 3],
    ])
    const ended = found.seen.map(({ event }) => event)
    expect(ended).not.toContain('sample.corrupt')
    expect(await stored('once')).toEqual([])
  })
})

async function stored(store: string): Promise<readonly string[]> {
  const names = await readdir(path.join(dir, store, 'objects'), { recursive: true })
  return names.filter((name) => name.endsWith('.safetensors'))
}
