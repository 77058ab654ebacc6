import type { MarkedSample } from '../../core/data-health.ts'

type Part = MarkedSample['parts'][number]

/** The most characters of a part, and the most parts of a sample. */
const LIMITS = { characters: 400, parts: 40 }

/**
 * The parts of a sample, short enough for a page. Each keeps its beginning and its end: where training begins and ends is
 * what a reader looks for.
 */
export function cutParts(parts: readonly Part[]): Pick<MarkedSample, 'parts' | 'more'> {
  const kept = parts.slice(0, LIMITS.parts).map(({ text, trained }) => ({ text: cutMiddle(text), trained }))
  return { parts: kept, more: parts.length - kept.length }
}

function cutMiddle(text: string): string {
  // By characters: half of a surrogate pair is none.
  const signs = Array.from(text)
  if (signs.length <= LIMITS.characters) return text
  const half = LIMITS.characters / 2
  const left = signs.length - LIMITS.characters
  return `${signs.slice(0, half).join('')} [... ${left} characters ...] ${signs.slice(-half).join('')}`
}
