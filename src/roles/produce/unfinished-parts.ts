import type { Part } from '../../core/part.ts'
import { describe } from '../../refs/manifest.ts'
import type { Produced } from './produce.ts'

const NAMED = 4

/** What is missing of a manifest in parts. */
export interface UnfinishedParts {
  readonly text: string
  /** The first part that is not complete. */
  readonly first: Part
}

/** Null when nothing is missing, and for the manifest of one producer. */
export function unfinishedParts(parts: Produced['parts'] | undefined): UnfinishedParts | null {
  const left = (parts ?? []).filter(({ state }) => state !== 'complete')
  const [first] = left
  if (parts == null || first === undefined) return null
  const more = left.length > NAMED ? ` and ${left.length - NAMED} more` : ''
  const named = left.slice(0, NAMED).map(describe).join(', ')
  return {
    text: `${parts.length - left.length} of ${parts.length} parts complete; ${named}${more}`,
    first: { index: first.index, count: parts.length },
  }
}
