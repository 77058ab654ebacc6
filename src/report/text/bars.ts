import { count } from '../words.ts'

const BAR_WIDTH = 30
const MAX_ROWS = 12

export interface Bar {
  readonly label: string
  readonly value: number
  /** What stands before the bar. Default: the value as a count. */
  readonly shown?: string
}

/** A histogram in plain characters: a row for each bar, the highest value as the longest one. */
export function barRows(bars: readonly Bar[], highest = Math.max(0, ...bars.map(({ value }) => value))): string[] {
  const shown = bars.map(({ value, shown }) => shown ?? count(value))
  const [labels, values] = [widest(bars.map(({ label }) => label)), widest(shown)]
  return bars.map(({ label, value }, row) => {
    const length = value <= 0 || highest <= 0 ? 0 : Math.max(1, Math.round((value / highest) * BAR_WIDTH))
    return `${label.padStart(labels)}  ${(shown[row] ?? '').padStart(values)} ${'#'.repeat(length)}`.trimEnd()
  })
}

const widest = (texts: readonly string[]): number => Math.max(0, ...texts.map((text) => text.length))

/** At most twelve buckets: the lowest ones are put together. */
export function fewBuckets<T extends { readonly from: number; readonly to: number; readonly samples: number }>(
  buckets: readonly T[],
): readonly { readonly from: number; readonly to: number; readonly samples: number }[] {
  const low = buckets.slice(0, Math.max(0, buckets.length - MAX_ROWS) + 1)
  const [first] = low
  if (first === undefined || low.length === 1) return buckets
  const samples = low.reduce((sum, bucket) => sum + bucket.samples, 0)
  return [{ from: first.from, to: low.at(-1)?.to ?? first.to, samples }, ...buckets.slice(low.length)]
}
