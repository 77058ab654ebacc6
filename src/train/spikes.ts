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
/** Before so many steps nothing is typical yet. */
const LEAST = 20
/** A curve that hardly moves would make a spike of every tremor: deviations below this share of the median are none. */
const TREMOR = 0.02

/**
 * Finds steps whose loss or gradient norm is far above what was usual: more than `factor` median absolute deviations
 * above the median of the last steps. Neither moves when a spike comes, and both follow when the curve does.
 */
export class SpikeWatch {
  readonly #factor: number
  readonly #recent = { loss: [] as number[], gradNorm: [] as number[] }

  constructor(factor: number) {
    this.#factor = factor
  }

  look(seen: WatchedStep): readonly Spike[] {
    return (['loss', 'gradNorm'] as const).flatMap((of) => this.#lookAt(of, seen) ?? [])
  }

  #lookAt(of: Spike['of'], seen: WatchedStep): Spike | null {
    const recent = this.#recent[of]
    const value = seen[of]
    const typical = median(recent)
    const spread = median(recent.map((other) => Math.abs(other - typical)))
    const limit = typical + this.#factor * Math.max(spread, TREMOR * Math.abs(typical))
    const isSpike = recent.length >= LEAST && value > limit
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
