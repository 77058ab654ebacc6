import type { BatchSize } from '../data/batch-plan.ts'
import type { StepSamples } from '../data/loader.ts'

export interface RoundsOptions {
  /** Per rank, as in training: a batch that fits into memory there fits here. */
  readonly batch: BatchSize
  readonly worldSize: number
  readonly rank: number
}

/**
 * One rank's part of a validation. Every sample is in one rank's part, and all parts have the same number of rounds,
 * because a round is a collective: a rank that has no samples left brings an empty batch.
 */
export function validationRounds(lengths: readonly number[], options: RoundsOptions): readonly StepSamples[] {
  const { worldSize, rank, batch } = options
  // Longest first: a batch that does not fit into memory fails at once, and batches hold samples of similar lengths.
  const order = lengths.map((_, index) => index).sort((a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0) || a - b)
  const parts = Array.from({ length: worldSize }, (_, of) => order.filter((_, at) => at % worldSize === of))
  const cut = parts.map((part) => batches(part, lengths, batch))
  const rounds = Math.max(0, ...cut.map((part) => part.length))
  return Array.from({ length: rounds }, (_, cursor) => ({ epoch: 0, cursor, samples: cut[rank]?.[cursor] ?? [] }))
}

/** `part`: longest first, so the first sample of a batch says how long the padded others are. */
function batches(part: readonly number[], lengths: readonly number[], batch: BatchSize): number[][] {
  const cut: number[][] = []
  for (const index of part) {
    const last = cut.at(-1)
    if (last !== undefined && fits(last, lengths, batch)) last.push(index)
    else cut.push([index])
  }
  return cut
}

function fits(taken: readonly number[], lengths: readonly number[], batch: BatchSize): boolean {
  if ('samples' in batch) return taken.length < batch.samples
  return (taken.length + 1) * (lengths[taken[0] ?? 0] ?? 0) <= batch.tokens
}
