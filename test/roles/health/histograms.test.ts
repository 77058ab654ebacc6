import { expect, it } from 'vitest'
import { lengthHistogram, shareHistogram } from '../../../src/roles/health/histograms.ts'

it('puts every length into the bucket that holds it, and leaves out empty buckets at the ends', () => {
  const lengths = Array.from({ length: 300 }, (_, index) => 4 + ((index * 37) % 90))
  const buckets = lengthHistogram(lengths)
  expect(buckets[0]?.from).toBe(4)
  expect(buckets.at(-1)?.to).toBe(128)
  for (const { from, to, samples } of buckets) {
    expect(samples).toBe(lengths.filter((length) => from <= length && length < to).length)
  }
  expect(lengthHistogram([])).toEqual([])
  expect(lengthHistogram([0, 1, 5])).toEqual([
    { from: 0, to: 1, samples: 1 },
    { from: 1, to: 2, samples: 1 },
    { from: 2, to: 4, samples: 0 },
    { from: 4, to: 8, samples: 1 },
  ])
})

it('puts every share of whole tokens into its ten percent, all of it into the last', () => {
  for (const tokens of [1, 7, 10, 100, 2048]) {
    const shares = Array.from({ length: tokens + 1 }, (_, trained) => trained / tokens)
    const buckets = shareHistogram(shares)
    expect(buckets).toHaveLength(10)
    for (const [bucket, { samples }] of buckets.entries()) {
      // In whole numbers: trained * 10 / tokens is never rounded.
      const own = shares.filter((_, trained) => Math.min(9, Math.floor((trained * 10) / tokens)) === bucket)
      expect([tokens, bucket, samples]).toEqual([tokens, bucket, own.length])
    }
  }
})
