import type { Histogram } from '../../core/data-health.ts'

const SHARE_WIDTH = 10
const LAST_SHARE = 100 / SHARE_WIDTH - 1

/** Buckets are powers of two, without the empty buckets at the start and the end. */
export function lengthHistogram(lengths: Iterable<number>): Histogram {
  const counts: number[] = []
  for (const tokens of lengths) {
    const bucket = tokens < 1 ? 0 : Math.floor(Math.log2(tokens)) + 1
    counts[bucket] = (counts[bucket] ?? 0) + 1
  }
  const buckets = Array.from(counts, (samples = 0, bucket) => {
    return { from: bucket === 0 ? 0 : 2 ** (bucket - 1), to: 2 ** bucket, samples }
  })
  return buckets.slice(
    Math.max(
      0,
      buckets.findIndex(({ samples }) => samples > 0),
    ),
  )
}

/** Shares from 0 to 1 in ten buckets of 10 % each, empty ones too. The last one has 100 % as well. */
export function shareHistogram(shares: Iterable<number>): Histogram {
  const counts = new Array<number>(LAST_SHARE + 1).fill(0)
  for (const share of shares) {
    // Rounded first: 0.29 * 100 is 28.999999999999996.
    const percent = Math.floor(Number((share * 100).toPrecision(12)))
    const bucket = Math.min(LAST_SHARE, Math.floor(percent / SHARE_WIDTH))
    counts[bucket] = (counts[bucket] ?? 0) + 1
  }
  return counts.map((samples, bucket) => {
    const end = bucket === LAST_SHARE ? 101 : (bucket + 1) * SHARE_WIDTH
    return { from: bucket * SHARE_WIDTH, to: end, samples }
  })
}
