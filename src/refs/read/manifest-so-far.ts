import type { ProducedHealth } from '../../core/produced-health.ts'
import type { PartSoFar } from '../parts/part-state.ts'
import type { ManifestRoot } from '../root/manifest-schema.ts'
import type { RefList } from './ref-list.ts'

/** A manifest in any state: also one that is being written, with what is published so far. */
export interface ManifestSoFar {
  readonly dir: string
  /** Where there are parts: what their roots say together. */
  readonly root: ManifestRoot
  readonly refs: RefList
  /** Of the complete parts, or of the whole. */
  readonly countsFiles: readonly string[]
  /** What the producers counted; null where none has said it. */
  readonly health: ProducedHealth | null
  readonly sha256: string
  /** How far the producer of each part has come. Null for the manifest of one producer, and for a part by itself. */
  readonly parts: readonly PartSoFar[] | null
}
