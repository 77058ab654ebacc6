import path from 'node:path'
import { type CodedError, finding } from '../../core/errors.ts'
import type { RunId, StoreId } from '../../core/ids.ts'
import type { ProducedHealth } from '../../core/produced-health.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { joinParts } from '../parts/join-parts.ts'
import { manifestLayout } from '../parts/manifest-layout.ts'
import { unfinishedText } from '../parts/part-state.ts'
import { ROOT_FILE } from '../root/manifest-schema.ts'
import type { RootKey } from '../root/root-mac.ts'
import type { ManifestSoFar } from './manifest-so-far.ts'
import { noManifest, readFolder } from './read-folder.ts'
import { RefList } from './ref-list.ts'

/** What producers published. Apart from the store, nothing else passes between the pools. */
export interface Manifest {
  readonly dir: string
  readonly runId: RunId
  readonly storeId: StoreId
  readonly contract: CaptureContract
  /** In the order of their inputs, or as they were published: see `RefList`. */
  readonly refs: RefList
  /** One `token-counts.ndjson`, or one for each part: lines `[tokenId, count]` of trained tokens. */
  readonly countsFiles: readonly string[]
  /** What the producers counted of their inputs; null in manifests of earlier versions. */
  readonly health: ProducedHealth | null
  /** Of `manifest.json`, which holds the sums of all other files; of those of all parts, where there are parts. */
  readonly sha256: string
}

export interface ReadOptions {
  /** The folder of a manifest, or of one part of it. */
  readonly dir: string
  /** The store that the refs must point into. */
  readonly storeId?: StoreId
  /** The key of the store, which must have signed the manifest. */
  readonly key?: RootKey | null
}

/**
 * A complete manifest, with every file compared to its sum. A ref is checked when it is asked for; `refs.checkAll()`
 * checks them all.
 * @throws MANIFEST_INVALID for one that is damaged, incomplete, of a future version or of another store than `storeId`.
 */
export async function readRefManifest(options: ReadOptions): Promise<Manifest> {
  const found = await readManifestSoFar(options)
  const { dir, root, refs, countsFiles, health, sha256 } = found
  const { contract } = root
  if (root.state !== 'complete' || contract === null || countsFiles.length === 0) throw incomplete(found)
  return { dir, runId: root.run_id, storeId: root.store_id, contract, refs, countsFiles, health, sha256 }
}

/**
 * What is published so far, in any state of the manifest.
 * @throws MANIFEST_INVALID as `readRefManifest` does it, except for the state.
 */
export async function readManifestSoFar({ dir, storeId, key = null }: ReadOptions): Promise<ManifestSoFar> {
  const layout = await manifestLayout(dir, key)
  if (layout.kind === 'nothing') throw noManifest(dir)
  const folders = layout.kind === 'whole' ? [{ ...layout.found, dir }] : layout.begun
  const read = []
  for (const seen of folders) {
    const one = await readFolder(seen.dir, key, seen)
    if (storeId !== undefined && one.root.store_id !== storeId) throw otherStore(seen.dir, one.root.store_id, storeId)
    read.push(one)
  }
  if (layout.kind === 'parts') return joinParts(dir, layout.count, read)
  const [whole] = read
  if (whole === undefined) throw noManifest(dir)
  const { root, source, health, sha256 } = whole
  const countsFiles = root.token_counts === null ? [] : [path.join(dir, root.token_counts.file)]
  return { dir, root, refs: new RefList([source]), countsFiles, health, sha256, parts: null }
}

const otherStore = (dir: string, found: StoreId, opened: StoreId): CodedError =>
  finding('MANIFEST_INVALID', 'this manifest belongs to another store', {
    file: path.join(dir, ROOT_FILE),
    field: 'store_id',
    found: `${found}; the opened store is ${opened}`,
    fix: 'point store.root to the store that the producer filled, or manifest to the one of this store',
  })

const incomplete = (found: ManifestSoFar): CodedError =>
  finding('MANIFEST_INVALID', 'this manifest is not complete', {
    file: found.parts === null ? path.join(found.dir, ROOT_FILE) : found.dir,
    field: 'state',
    found: unfinishedText(found),
    fix: 'let the producer finish; it goes on where it stopped',
  })
