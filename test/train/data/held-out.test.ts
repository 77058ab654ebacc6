import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SampleRef } from '../../../src/core/sample-ref.ts'
import { heldOut, SomeRefs } from '../../../src/train/data/held-out.ts'
import { validationRounds } from '../../../src/train/validation/validation-rounds.ts'
import { fakeRef } from '../fake-engine.ts'

const refs = (count: number, from = 0): SampleRef[] =>
  Array.from({ length: count }, (_, index) => fakeRef(from + index))
const ids = (all: readonly SampleRef[], chosen: readonly number[]) => chosen.map((index) => all[index]?.sampleId)

describe('the samples that are held out', () => {
  it('are the share of them, one at least, and no more than the limit', () => {
    const count = (share: number, limit: number | null) => heldOut(refs(200), { share, limit, seed: 0 }).length
    expect([count(0.02, null), count(0.001, null), count(0.5, 7), count(1, null)]).toEqual([4, 1, 7, 200])
    expect(heldOut([], { share: 0.5, limit: null, seed: 0 })).toEqual([])
  })

  it('depend on their ids and the seed, and not on their order', () => {
    const all = refs(200)
    const one = ids(all, heldOut(all, { share: 0.1, limit: null, seed: 3 }))
    const turned = [...all].reverse()
    expect(ids(turned, heldOut(turned, { share: 0.1, limit: null, seed: 3 })).sort()).toEqual([...one].sort())
    expect(ids(all, heldOut(all, { share: 0.1, limit: null, seed: 4 }))).not.toEqual(one)
  })

  it('stay what they are when more are asked for', () => {
    const some = heldOut(refs(200), { share: 0.05, limit: null, seed: 1 })
    expect(heldOut(refs(200), { share: 0.2, limit: null, seed: 1 })).toEqual(expect.arrayContaining([...some]))
  })

  it('are spread evenly: each sample is chosen as often as another', () => {
    const times = new Float64Array(50)
    for (let seed = 0; seed < 2000; seed += 1)
      for (const index of heldOut(refs(50), { share: 0.2, limit: null, seed })) times[index] = (times[index] ?? 0) + 1
    // 400 expected, with a standard deviation of 18.
    expect(Math.min(...times)).toBeGreaterThan(400 - 90)
    expect(Math.max(...times)).toBeLessThan(400 + 90)
  })

  it('never change: a run that resumes chooses again', () => {
    expect(heldOut(refs(40), { share: 0.1, limit: null, seed: 0 })).toEqual(CHOSEN)
  })
})

/** What this version chose when it was written. */
const CHOSEN = [5, 13, 20, 34]

describe('some refs', () => {
  it('have numbers of their own', () => {
    const some = new SomeRefs(refs(5), [3, 1])
    expect([some.length, some.at(0)?.sampleId, some.at(1)?.sampleId, some.at(2)]).toEqual([
      2,
      'sample-3',
      'sample-1',
      undefined,
    ])
  })
})

describe('the rounds of a validation', () => {
  const batches = fc.oneof(
    fc.record({ samples: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ tokens: fc.integer({ min: 20, max: 80 }) }),
  )

  it('take every sample once, and are as many on each rank', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 40 }),
        batches,
        fc.integer({ min: 1, max: 5 }),
        (lengths, batch, worldSize) => {
          const parts = Array.from({ length: worldSize }, (_, rank) =>
            validationRounds(lengths, { batch, worldSize, rank }),
          )
          const taken = parts.flatMap((rounds) => rounds.flatMap(({ samples }) => samples))
          expect([...taken].sort((a, b) => a - b)).toEqual(lengths.map((_, index) => index))
          expect(new Set(parts.map((rounds) => rounds.length)).size).toBe(1)
          for (const { samples } of parts.flat()) {
            const longest = Math.max(0, ...samples.map((index) => lengths[index] ?? 0))
            if ('samples' in batch) expect(samples.length).toBeLessThanOrEqual(batch.samples)
            else expect(samples.length * longest).toBeLessThanOrEqual(batch.tokens)
          }
          const sizes = parts.map((rounds) => rounds.flatMap(({ samples }) => samples).length)
          expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
        },
      ),
    )
  })

  it('of a rank without samples are empty batches', () => {
    const rounds = (rank: number) => validationRounds([5], { batch: { samples: 1 }, worldSize: 2, rank })
    expect(rounds(0)).toEqual([{ epoch: 0, cursor: 0, samples: [0] }])
    expect(rounds(1)).toEqual([{ epoch: 0, cursor: 0, samples: [] }])
  })
})
