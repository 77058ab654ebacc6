import { describe, expect, it } from 'vitest'
import { batchPlan } from '../../src/train/data/batch-plan.ts'
import { samplesOfStep } from '../../src/train/data/step-samples.ts'
import { SpikeWatch } from '../../src/train/spikes.ts'
import { simulatedAcceptLength } from '../../src/train/validation/validator.ts'
import { fakeLosses, fakeRef } from './fake-engine.ts'

/** Numbers between 0 and 1 that look random and are not. */
const tremor = (step: number) => (Math.sin(step * 12.9898) * 43758.5453) % 1

function watch(factor: number, loss: (step: number) => number, steps = 300) {
  const spikes = new SpikeWatch(factor)
  return Array.from({ length: steps }, (_, at) => at + 1).flatMap((step) =>
    spikes.check({ step, loss: loss(step), gradNorm: 1 }),
  )
}

describe('spikes', () => {
  it('are steps far above the running median, with what was usual', () => {
    const found = watch(10, (step) => (step === 150 ? 40 : 8 - step / 100 + tremor(step)))
    expect(found).toEqual([{ step: 150, of: 'loss', value: 40, typical: expect.any(Number) }])
    expect(found[0]?.typical).toBeGreaterThan(6)
    expect(found[0]?.typical).toBeLessThan(8)
  })

  it('are told of the gradient norm as well', () => {
    const spikes = new SpikeWatch(10)
    for (let step = 1; step < 50; step += 1) spikes.check({ step, loss: 1, gradNorm: 2 + tremor(step) / 10 })
    expect(spikes.check({ step: 50, loss: 1, gradNorm: 30 })).toMatchObject([{ step: 50, of: 'gradNorm', value: 30 }])
  })

  it('are none while nothing is typical yet, nor where the curve only trembles, rises slowly or falls', () => {
    expect(watch(10, (step) => (step === 5 ? 1000 : 1))).toEqual([])
    expect(watch(10, (step) => 5 + tremor(step))).toEqual([])
    expect(watch(10, (step) => 1 + step / 1000)).toEqual([])
    expect(watch(10, (step) => 10 - step / 100 + tremor(step))).toEqual([])
    expect(watch(10, () => 3)).toEqual([])
  })

  it('end when what was unusual goes on', () => {
    const found = watch(10, (step) => (step > 150 ? 40 : 8) + tremor(step))
    expect(found.length).toBeGreaterThan(10)
    expect(found.at(-1)?.step).toBeLessThan(220)
  })

  it('are held against the middle of two where the number of steps is even', () => {
    const found = watch(10, (step) => (step === 21 ? 1000 : step % 2 === 0 ? 3 : 1), 21)
    expect(found).toEqual([{ step: 21, of: 'loss', value: 1000, typical: 2 }])
  })

  it('are fewer with a higher factor', () => {
    const loss = (step: number) => (step % 50 === 0 ? 12 : 8) + tremor(step)
    expect(watch(2, loss).length).toBeGreaterThan(watch(6, loss).length)
    expect(watch(1000, loss)).toEqual([])
  })
})

describe('the samples of a step', () => {
  const refs = Array.from({ length: 9 }, (_, index) => fakeRef(index))
  const settings = { epochs: 2, maxSteps: null, batch: { samples: 1 }, accumulate: 2, shuffle: true, seed: 3 }
  const plan = (rank: number) => batchPlan(new Array<number>(9).fill(4), { ...settings, worldSize: 2, rank })

  it('are those of all ranks, whichever rank asks', () => {
    const lost = fakeLosses(9)
    for (const step of [1, 3, 4]) {
      const found = samplesOfStep(step, { plan: plan(0), refs, lost })
      expect(samplesOfStep(step, { plan: plan(1), refs, lost })).toEqual(found)
      for (const { rank, sampleIds } of found) {
        const trained = [...plan(rank).from(0)].filter((micro) => micro.step === step).flatMap(({ samples }) => samples)
        expect(sampleIds).toEqual(trained.map((index) => `sample-${index}`))
      }
    }
  })

  it('are fewer in a last window that is cut short, and none behind the end', () => {
    const counts = (step: number) =>
      samplesOfStep(step, { plan: plan(0), refs, lost: fakeLosses(9) }).map(({ sampleIds }) => sampleIds.length)
    expect(plan(0).totalSteps).toBe(4)
    expect([counts(4), counts(5)]).toEqual([
      [2, 2],
      [0, 0],
    ])
  })

  it('are without those that could not be read', () => {
    const lost = fakeLosses(9, 1, 0)
    const [first] = samplesOfStep(2, { plan: plan(0), refs, lost })
    const gone = Number(first?.sampleIds[0]?.split('-')[1])
    lost.agree([gone], -1)
    const [rest] = samplesOfStep(2, { plan: plan(0), refs, lost })
    expect(rest?.sampleIds).toEqual(first?.sampleIds.slice(1))
  })
})

describe('the simulated accept length', () => {
  it('is the sum of the products of accuracies', () => {
    expect(simulatedAcceptLength([0.5, 0.5, 0.5])).toBeCloseTo(0.875)
    expect(simulatedAcceptLength([0.8, 0.5, 0.25])).toBeCloseTo(0.8 + 0.4 + 0.1)
    expect(simulatedAcceptLength([1, 1, 1])).toBe(3)
    expect(simulatedAcceptLength([0, 1])).toBe(0)
    expect(simulatedAcceptLength([0.5, null])).toBeNull()
  })
})
