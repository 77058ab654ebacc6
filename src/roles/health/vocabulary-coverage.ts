import type { Vocabulary } from '../../core/data-health.ts'
import type { TokenCount } from '../../refs/manifest.ts'

const SMALLEST = 1024

/**
 * The share of the trained tokens that the most frequent ones make up: of 1024, 2048, … tokens, of all tokens of the
 * target, and of `draftSize`, the draft vocabulary of a config. Null when nothing is trained. `counts`: most frequent first.
 */
export function vocabularyCoverage(
  counts: readonly TokenCount[],
  vocabSize: number,
  draftSize: number | null = null,
): Vocabulary | null {
  const reached: number[] = []
  let trained = 0
  for (const [, count] of counts) {
    trained += count
    reached.push(trained)
  }
  if (trained === 0) return null
  const coverage = sizes(vocabSize, draftSize).map((tokens) => {
    const last = Math.min(tokens, reached.length) - 1
    return { tokens, share: (reached[last] ?? 0) / trained }
  })
  return { trained, distinct: counts.length, coverage }
}

function sizes(vocabSize: number, draftSize: number | null): number[] {
  const all = new Set([vocabSize])
  for (let size = SMALLEST; size < vocabSize; size *= 2) all.add(size)
  if (draftSize !== null && draftSize < vocabSize) all.add(draftSize)
  return [...all].sort((a, b) => a - b)
}
