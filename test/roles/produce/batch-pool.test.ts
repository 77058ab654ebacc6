import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BatchPool } from '../../../src/roles/produce/batch-pool.ts'
import type { EncodedSample } from '../../../src/roles/produce/encoded-conversations.ts'

/** A sample of which only the length matters here; `at` tells samples apart. */
const sample = (numTokens: number, at = 0) => ({ where: String(at), about: { numTokens } }) as EncodedSample

const lengths = (batch: readonly EncodedSample[]) => batch.map(({ about }) => about.numTokens)
const padded = (batch: readonly EncodedSample[]) => Math.max(...lengths(batch)) * batch.length

function batchesOf(samples: readonly EncodedSample[], budget: number, batches: number): EncodedSample[][] {
  const pool = new BatchPool(budget, batches)
  const taken: EncodedSample[][] = []
  for (const one of samples) {
    pool.add(one)
    while (pool.isFull) taken.push(pool.take())
  }
  while (!pool.isEmpty) taken.push(pool.take())
  return taken
}

describe('a batch pool', () => {
  it('puts samples of about one length together, around the one that has waited longest', () => {
    const pool = new BatchPool(100, 10)
    for (const numTokens of [30, 90, 29, 5, 31, 95]) pool.add(sample(numTokens))
    expect(lengths(pool.take())).toEqual([30, 29, 31])
    expect(lengths(pool.take())).toEqual([90])
    expect(lengths(pool.take())).toEqual([5])
    expect(lengths(pool.take())).toEqual([95])
    expect(pool.isEmpty).toBe(true)
    expect(pool.take()).toEqual([])
  })

  it('gives a sample that is longer than the budget a batch of its own', () => {
    expect(batchesOf([sample(10), sample(50), sample(10)], 40, 20).map(lengths)).toEqual([[10, 10], [50]])
  })

  it('is full at the tokens of so many batches, and empty after all were taken back', () => {
    const pool = new BatchPool(10, 2)
    pool.add(sample(19))
    expect(pool.isFull).toBe(false)
    pool.add(sample(1))
    expect(pool.isFull).toBe(true)
    expect(lengths(pool.takeAll())).toEqual([19, 1])
    expect([pool.isEmpty, pool.isFull]).toEqual([true, false])
  })

  it('gives each sample exactly once, within the budget, and none waits for more than the others before it', () => {
    const given = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 60 })
    fc.assert(
      fc.property(given, fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 4 }), (sizes, budget, count) => {
        const samples = sizes.map(sample)
        const batches = batchesOf(samples, budget, count)
        const seen = new Set<EncodedSample>()
        for (const batch of batches) {
          expect(batch.length === 1 || padded(batch) <= budget).toBe(true)
          // The oldest one that is left is always among those that are taken.
          expect(batch).toContain(samples.find((one) => !seen.has(one)))
          for (const one of batch) seen.add(one)
        }
        expect(batches.flat()).toHaveLength(samples.length)
        expect(seen.size).toBe(samples.length)
      }),
    )
  })

  it('leaves a tenth of the padding of batches in the order of arrival', () => {
    let state = 1
    const next = () => {
      state = (state * 48271) % 2147483647
      return state / 2147483647
    }
    const samples = Array.from({ length: 2000 }, (_, at) => sample(20 + Math.floor(-Math.log(1 - next()) * 400), at))
    const waste = (batches: readonly (readonly EncodedSample[])[]) =>
      batches.reduce((sum, batch) => sum + padded(batch) - lengths(batch).reduce((a, b) => a + b, 0), 0)
    const inOrder: EncodedSample[][] = [[]]
    for (const one of samples) {
      const last = inOrder.at(-1) ?? []
      if (last.length > 0 && padded([...last, one]) > 16384) inOrder.push([one])
      else last.push(one)
    }
    expect(waste(batchesOf(samples, 16384, 8))).toBeLessThan(0.1 * waste(inOrder))
  })
})
