import path from 'node:path'
import { type CodedError, finding } from '../../core/errors.ts'
import type { ManifestSoFar } from '../read/manifest-so-far.ts'
import type { FolderRead } from '../read/read-folder.ts'
import { RefList } from '../read/ref-list.ts'
import { type Difference, workDifference } from '../root/manifest-identity.ts'
import { type ManifestRoot, ROOT_FILE } from '../root/manifest-schema.ts'
import { sha256 } from '../sha256.ts'
import { joinedHealth } from './joined-health.ts'
import { type PartSoFar, partStates, stateOfParts } from './part-state.ts'

/**
 * The parts that were begun as one manifest.
 * @throws MANIFEST_INVALID when they are not of one work.
 */
export function joinParts(dir: string, count: number, begun: readonly FolderRead[]): ManifestSoFar {
  const parts = partStates(
    count,
    begun.flatMap(({ root }) => (root.part === undefined ? [] : [{ index: root.part.index, root }])),
  )
  requireOneWork(begun, stateOfParts(parts).state !== 'complete')
  return {
    dir,
    root: joinedRoot(begun, parts),
    refs: new RefList(begun.map(({ source }) => source)),
    countsFiles: begun.flatMap(({ dir: folder, root }) => {
      return root.token_counts === null ? [] : [path.join(folder, root.token_counts.file)]
    }),
    health: joinedHealth(
      count,
      begun.map(({ health }) => health),
    ),
    sha256: sha256(begun.map((part) => `${part.sha256}\n`).join('')),
    parts,
  }
}

/** A part whose producer failed early has no contract. */
function requireOneWork(begun: readonly FolderRead[], isOpen: boolean): void {
  const known = begun.filter(({ root }) => root.contract !== null)
  const [first, ...others] = known.length > 0 ? known : begun
  if (first === undefined) return
  for (const other of others) {
    const difference = workDifference(other.root, first.root, isOpen)
    if (difference !== undefined) throw otherWork(other, first, difference)
  }
}

function joinedRoot(begun: readonly FolderRead[], parts: readonly PartSoFar[]): ManifestRoot {
  const roots = begun.map(({ root }) => root)
  const [first] = roots
  if (first === undefined) throw new Error('a manifest of no parts')
  const { part: _part, mac, sum: _sum, ...shared } = first
  const isSigned = roots.every((root) => root.mac !== undefined)
  // What has been silent for longest is what people have to know.
  const open = roots.filter(({ state }) => state === 'open')
  const beats = (open.length > 0 ? open : roots).map(({ heartbeat }) => heartbeat)
  return {
    ...shared,
    contract: roots.find(({ contract }) => contract !== null)?.contract ?? null,
    specs: roots.flatMap(({ specs }) => specs),
    provenance_keys: [],
    ...stateOfParts(parts),
    heartbeat: Math.min(...beats),
    segments: roots.flatMap(({ segments }) => segments),
    token_counts: null,
    health: null,
    ...(isSigned && mac !== undefined ? { mac } : {}),
  }
}

const otherWork = (other: FolderRead, first: FolderRead, { field, there, here }: Difference): CodedError =>
  finding('MANIFEST_INVALID', 'the parts in this folder are of different work', {
    file: path.join(other.dir, ROOT_FILE),
    field,
    found: `${there}; ${path.basename(first.dir)} has ${here}`,
    fix: 'run the producers of all parts again with the same inputs: they keep what is stored. Remove parts of other work',
  })
