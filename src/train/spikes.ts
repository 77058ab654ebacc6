import type { WatchedStep } from '../bridge/ops.ts'

export interface Spike {
  readonly step: number
  readonly of: 'loss' | 'gradNorm'
  readonly value: number
  /** The running median before it. */
  readonly typical: number
}

/** Steps that the median is taken of. */
const WINDOW = 100
/** Steps before the first spike can be found: until then the median means little. */
const WARMUP_STEPS = 20
/** The smallest deviation used, as a share of the median. On a flat curve the median deviation is almost zero, and every small change would count. */
const MIN_DEVIATION = 0.02

/**
 * Finds steps whose loss or gradient norm is far above what was usual: more than `factor` median absolute deviations
 * above the median of the last steps. One spike hardly changes the two medians; a lasting change does.
 */
export class SpikeWatch {
  readonly #factor: number
  readonly #recent = { loss: [] as number[], gradNorm: [] as number[] }

  constructor(factor: number) {
    this.#factor = factor
  }

  check(seen: WatchedStep): readonly Spike[] {
    return (['loss', 'gradNorm'] as const).flatMap((of) => this.#checkOne(of, seen) ?? [])
  }

  #checkOne(of: Spike['of'], seen: WatchedStep): Spike | null {
    const recent = this.#recent[of]
    const value = seen[of]
    const typical = median(recent)
    const spread = median(recent.map((other) => Math.abs(other - typical)))
    const limit = typical + this.#factor * Math.max(spread, MIN_DEVIATION * Math.abs(typical))
    const isSpike = recent.length >= WARMUP_STEPS && value > limit
    recent.push(value)
    if (recent.length > WINDOW) recent.shift()
    return isSpike ? { step: seen.step, of, value, typical } : null
  }
}

function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort()
  const middle = sorted.length >> 1
  const [low, high] = [sorted[middle - 1] ?? 0, sorted[middle] ?? 0]
  return sorted.length % 2 === 1 ? high : (low + high) / 2
}
