import path from 'node:path'
import { type CodedError, finding } from '../../core/errors.ts'
import { NEW_WORK } from '../new-work.ts'
import { type RootFile, readManifestRoot } from '../root/manifest-root.ts'
import { ROOT_FILE } from '../root/manifest-schema.ts'
import type { RootKey } from '../root/root-mac.ts'
import { partFolder, partIndices, partName } from './part-folders.ts'

/** A part that a producer has begun. */
export interface PartRoot extends RootFile {
  readonly dir: string
  readonly index: number
}

/** What lies in the folder of a manifest: the manifest of one producer, or the parts of several. */
export type ManifestLayout =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'whole'; readonly found: RootFile }
  | { readonly kind: 'parts'; readonly count: number; readonly begun: readonly PartRoot[] }

/**
 * Looks at the roots only.
 * @throws MANIFEST_INVALID when parts of different counts lie there, or parts beside the manifest of one producer; and what
 * `readManifestRoot` throws.
 */
export async function manifestLayout(dir: string, key: RootKey | null = null): Promise<ManifestLayout> {
  const whole = await readManifestRoot(dir, key)
  const begun: PartRoot[] = []
  for (const index of await partIndices(dir)) {
    const folder = partFolder(dir, index)
    const found = await readManifestRoot(folder, key)
    // Its producer has made the folder and nothing in it.
    if (found !== null) begun.push({ ...found, dir: folder, index })
  }
  const [first] = begun
  if (first === undefined) return whole === null ? { kind: 'nothing' } : { kind: 'whole', found: whole }
  if (whole !== null) throw bothKinds(dir, first)
  return { kind: 'parts', count: sharedCount(begun), begun }
}

function sharedCount(begun: readonly PartRoot[]): number {
  const counts = begun.map(({ root, index, dir }) => {
    if (root.part?.index !== index) throw misplaced(dir, root.part?.index)
    return root.part.count
  })
  const [count = 0] = counts
  const other = begun.find((_, at) => counts[at] !== count)
  if (other === undefined) return count
  throw finding('MANIFEST_INVALID', 'the parts in this folder were made for different numbers of parts', {
    file: path.join(other.dir, ROOT_FILE),
    field: 'part.count',
    found: `${other.root.part?.count ?? 0}; ${partName(begun[0]?.index ?? 0)} has ${count}`,
    fix: 'remove the part folders of one of the two numbers, and produce the missing parts again',
  })
}

const misplaced = (dir: string, index: number | undefined): CodedError =>
  finding('MANIFEST_INVALID', 'the folder of a part holds something else', {
    file: path.join(dir, ROOT_FILE),
    field: 'part.index',
    found: index === undefined ? 'the manifest of one producer' : `the part ${index}`,
    fix: `give it back the name that it had${index === undefined ? '' : `: ${partName(index)}`}`,
  })

const bothKinds = (dir: string, part: PartRoot): CodedError =>
  finding('MANIFEST_INVALID', 'the folder holds the manifest of one producer, and parts of several', {
    file: dir,
    field: `${ROOT_FILE}, ${partName(part.index)}`,
    found: 'both',
    fix: `remove what is older; ${NEW_WORK}`,
  })
