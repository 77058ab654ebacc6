import path from 'node:path'
import { type CodedError, finding } from '../../core/errors.ts'
import { type Part, partText } from '../../core/part.ts'
import { NEW_WORK } from '../new-work.ts'
import { type ManifestIdentity, requireSameWork } from '../root/manifest-identity.ts'
import { ROOT_FILE } from '../root/manifest-schema.ts'
import type { RootKey } from '../root/root-mac.ts'
import { type ManifestLayout, manifestLayout } from './manifest-layout.ts'

export interface Place {
  /** The folder that the producer writes: of the manifest, or of its part. */
  readonly dir: string
  readonly part?: Part | undefined
  readonly key?: RootKey | null | undefined
}

/**
 * Whether the folder holds an earlier state of this work. `wanted`: the work, once its contract is known; null before.
 * @throws MANIFEST_INVALID when it holds other work, or other parts than this producer's; STORE_AUTH.
 */
export async function requireFitting(place: Place, wanted: ManifestIdentity | null): Promise<boolean> {
  const { dir, part, key = null } = place
  const layout = await manifestLayout(part === undefined ? dir : path.dirname(dir), key)
  if (layout.kind === 'nothing') return false
  if (part === undefined) return fitsWhole(dir, layout, wanted)
  if (layout.kind === 'whole') throw isWhole(path.dirname(dir), part)
  if (layout.count !== part.count) throw otherCount(path.dirname(dir), layout.count, part)
  const isOpen = !isComplete(layout)
  for (const { dir: folder, root } of layout.begun) {
    if (wanted !== null && root.contract !== null) requireSameWork(folder, root, wanted, isOpen)
  }
  return layout.begun.some(({ index, root }) => index === part.index && root.contract !== null)
}

function fitsWhole(dir: string, layout: ManifestLayout, wanted: ManifestIdentity | null): boolean {
  if (layout.kind === 'parts') throw hasParts(dir, layout.count)
  if (layout.kind !== 'whole' || layout.found.root.contract === null) return false
  if (wanted !== null) requireSameWork(dir, layout.found.root, wanted)
  return true
}

/** Every part is, and of the same inputs. Before that, what a part was made of may still be mended. */
export function isComplete({ count, begun }: Extract<ManifestLayout, { kind: 'parts' }>): boolean {
  const inputs = new Set(begun.map(({ root }) => root.inputs))
  return begun.length === count && inputs.size === 1 && begun.every(({ root }) => root.state === 'complete')
}

const isWhole = (dir: string, part: Part): CodedError =>
  finding('MANIFEST_INVALID', 'the folder holds the manifest of one producer, not of several', {
    file: path.join(dir, ROOT_FILE),
    field: 'part',
    found: `none; this producer makes part ${partText(part)}`,
    fix: `go on without --part; or ${NEW_WORK}`,
  })

const hasParts = (dir: string, count: number): CodedError =>
  finding('MANIFEST_INVALID', 'the folder holds a manifest in parts', {
    file: dir,
    field: 'part.count',
    found: `${count} parts; this producer makes the whole manifest`,
    fix: `go on with --part 0/${count} to --part ${count - 1}/${count}; or ${NEW_WORK}`,
  })

const otherCount = (dir: string, count: number, part: Part): CodedError =>
  finding('MANIFEST_INVALID', 'the folder holds a manifest in another number of parts', {
    file: dir,
    field: 'part.count',
    found: `${count} parts; this producer makes part ${partText(part)}`,
    fix: `use --part 0/${count} to --part ${count - 1}/${count}; or ${NEW_WORK}; or remove the old manifest folder, if nobody needs it`,
  })
