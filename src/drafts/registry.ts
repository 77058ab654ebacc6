import { finding } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import type { DraftArchitecture } from './architecture.ts'
import { eagle3 } from './eagle3/eagle3.ts'

/** The draft architectures there are. Nothing else imports one. */
const architectures = new Map<string, DraftArchitecture>([[eagle3.name, eagle3]])

/** Makes an architecture known to this process. Its Python half is registered in drafts/registry.py. */
export function registerArchitecture(architecture: DraftArchitecture): void {
  if (architectures.has(architecture.name)) throw new Error(`${architecture.name} is registered twice`)
  architectures.set(architecture.name, architecture)
}

export const architectureNames = (): readonly string[] => [...architectures.keys()]

/** @throws CONFIG_INVALID when there is none of this name. */
export function architectureOf(name: string): DraftArchitecture {
  const found = architectures.get(name)
  if (found !== undefined) return found
  const meant = nearest(name, architectureNames())
  throw finding('CONFIG_INVALID', 'there is no such draft architecture', {
    field: 'draft.architecture',
    found: name,
    fix: meant === undefined ? `one of ${architectureNames().join(' | ')}` : `did you mean ${meant}?`,
  })
}
