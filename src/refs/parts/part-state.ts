import type { ManifestRoot } from '../root/manifest-schema.ts'
import { partName } from './part-folders.ts'

/** How far the producer of one part has come; `missing`: it has not begun. */
export interface PartSoFar {
  readonly index: number
  readonly state: ManifestRoot['state'] | 'missing'
  /** The error code of a failed producer. */
  readonly error: string | null
  readonly samples: number
}

/** The parts 0 to `count` - 1, by what is found of them. */
export function partStates(
  count: number,
  begun: readonly { readonly index: number; readonly root: ManifestRoot }[],
): readonly PartSoFar[] {
  const roots = new Map(begun.map(({ index, root }) => [index, root]))
  return Array.from({ length: count }, (_, index) => {
    const root = roots.get(index)
    if (root === undefined) return { index, state: 'missing', error: null, samples: 0 }
    const samples = root.segments.reduce((sum, entry) => sum + entry.count, 0)
    return { index, state: root.state, error: root.error, samples }
  })
}

/** The worst of the parts decides: one has failed, one is open or missing, all are complete. */
export function stateOfParts(parts: readonly PartSoFar[]): Pick<ManifestRoot, 'state' | 'error'> {
  const failed = parts.find(({ state }) => state === 'failed')
  if (failed !== undefined) return { state: 'failed', error: failed.error as ManifestRoot['error'] }
  return { state: parts.every(({ state }) => state === 'complete') ? 'complete' : 'open', error: null }
}

const NAMED = 8

/** For an error: why a manifest is not complete. Names the parts that are not. */
export function unfinishedText(found: {
  readonly root: Pick<ManifestRoot, 'state' | 'error'>
  readonly parts: readonly PartSoFar[] | null
}): string {
  const { state, error } = found.root
  if (found.parts === null) return error === null ? state : `${state} (${error})`
  const left = found.parts.filter((part) => part.state !== 'complete')
  const named = left.slice(0, NAMED).map(describe).join(', ')
  return `${named}${left.length > NAMED ? ` and ${left.length - NAMED} more` : ''}`
}

export function describe({ index, state, error }: PartSoFar): string {
  if (state === 'missing') return `${partName(index)} has not begun`
  return `${partName(index)} ${state === 'open' ? 'is open' : 'has failed'}${error === null ? '' : ` (${error})`}`
}
