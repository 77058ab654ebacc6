import path from 'node:path'
import { type CodedError, finding, hasCode, isErrno } from '../../core/errors.ts'
import { readPlain } from '../../core/files/plain-file.ts'
import type { RunId, StoreId } from '../../core/ids.ts'
import type { ProducedHealth } from '../../core/produced-health.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { parseHealth } from '../health-file.ts'
import { PRODUCE_AGAIN } from '../produce-again.ts'
import { type RootFile, readManifestRoot } from '../root/manifest-root.ts'
import {
  type CountsEntry,
  type HealthEntry,
  type ManifestRoot,
  ROOT_FILE,
  type SegmentEntry,
} from '../root/manifest-schema.ts'
import type { RootKey } from '../root/root-mac.ts'
import { sha256 } from '../sha256.ts'
import { RefList } from './ref-list.ts'
import { countLines, SegmentLines } from './segment-lines.ts'

/** What a producer published. Apart from the store, nothing else passes between the pools. */
export interface Manifest {
  readonly dir: string
  readonly runId: RunId
  readonly storeId: StoreId
  readonly contract: CaptureContract
  /** In the order in which they were published. */
  readonly refs: RefList
  /** `token-counts.ndjson`: lines `[tokenId, count]` of trained tokens, most frequent first, equal ones by id. */
  readonly countsFile: string
  /** What the producer counted of its inputs; null in manifests of earlier versions. */
  readonly health: ProducedHealth | null
  /** Of `manifest.json`, which holds the sums of all other files. */
  readonly sha256: string
}

/** A manifest in any state: also one that is being written, with what is published so far. */
export interface ManifestSoFar {
  readonly dir: string
  readonly root: ManifestRoot
  readonly refs: RefList
  readonly health: ProducedHealth | null
  readonly sha256: string
}

export interface ReadOptions {
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
  const { dir, root, refs, health, sha256 } = await readManifestSoFar(options)
  const { contract, token_counts: counts } = root
  if (root.state !== 'complete' || contract === null || counts === null)
    throw incomplete(path.join(dir, ROOT_FILE), root)
  const countsFile = path.join(dir, counts.file)
  return { dir, runId: root.run_id, storeId: root.store_id, contract, refs, countsFile, health, sha256 }
}

const ATTEMPTS = 10
/** Of one file that a root lists. Segments have 4 MiB; all of them are kept in memory, so a larger one helps nobody. */
const MAX_LISTED_BYTES = 1024 ** 3

/**
 * What is published so far, in any state of the manifest.
 * @throws MANIFEST_INVALID as `readRefManifest` does it, except for the state.
 */
export async function readManifestSoFar(options: ReadOptions): Promise<ManifestSoFar> {
  const { dir, storeId, key = null } = options
  const file = path.join(dir, ROOT_FILE)
  for (let attempt = 1; ; attempt += 1) {
    const found = await requireRoot(dir, key)
    const { store_id: store } = found.root
    if (storeId !== undefined && store !== storeId) throw otherStore(file, store, storeId)
    const read = await readAll(dir, found).catch((error: unknown) => onlyDamage(error))
    if (!(read instanceof Error)) return read
    // Its producer may have joined small segments to a larger one since the root was read.
    if (attempt === ATTEMPTS || (await requireRoot(dir, key)).text === found.text) throw read
  }
}

function onlyDamage(error: unknown): Error {
  if (hasCode(error, 'MANIFEST_INVALID')) return error
  throw error
}

async function readAll(dir: string, { root, text }: RootFile): Promise<ManifestSoFar> {
  const segments = await readSegments(dir, root)
  if (root.token_counts !== null) await readListed(dir, root.token_counts)
  const health = root.health === null ? null : await readHealth(dir, root.health)
  const { run_id: runId, store_id: storeId, specs, provenance_keys: keys } = root
  return { dir, root, refs: new RefList({ runId, storeId, specs, keys }, segments), health, sha256: sha256(text) }
}

async function readHealth(dir: string, entry: HealthEntry): Promise<ProducedHealth> {
  return parseHealth(path.join(dir, entry.file), (await readListed(dir, entry)).toString('utf8'))
}

/** The lines of all listed segments, each compared to its sum. */
async function readSegments(dir: string, root: ManifestRoot): Promise<SegmentLines[]> {
  const segments: SegmentLines[] = []
  for (const entry of root.segments) {
    const file = path.join(dir, entry.file)
    const bytes = await readListed(dir, entry)
    const count = countLines(bytes)
    if (count !== entry.count) {
      throw damaged(file, 'count', `${count ?? 'a cut last line, not'} lines; the root lists ${entry.count}`)
    }
    segments.push(new SegmentLines(file, bytes, count))
  }
  return segments
}

async function requireRoot(dir: string, key: RootKey | null): Promise<RootFile> {
  const found = await readManifestRoot(dir, key)
  if (found !== null) return found
  const fix = 'run the producer first, and give both roles the same `manifest`'
  const file = path.join(dir, ROOT_FILE)
  throw finding('MANIFEST_INVALID', 'there is no manifest', { file, found: 'no such file', fix })
}

async function readListed(dir: string, entry: SegmentEntry | CountsEntry | HealthEntry): Promise<Buffer> {
  const file = path.join(dir, entry.file)
  const refuse = (found: string) => damaged(file, 'file', found)
  if (entry.bytes > MAX_LISTED_BYTES) throw refuse(`the root lists ${entry.bytes} bytes; at most ${MAX_LISTED_BYTES}`)
  const content = await readPlain(file, { refuse, maxBytes: entry.bytes }).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) throw refuse('no such file, though the root lists it')
    throw error
  })
  if (content.length !== entry.bytes) {
    throw damaged(file, 'bytes', `${content.length}; the root lists ${entry.bytes}`)
  }
  const sum = sha256(content)
  if (sum !== entry.sha256) throw damaged(file, 'sha256', `${sum}; the root lists ${entry.sha256}`)
  return content
}

const damaged = (file: string, field: string, found: string): CodedError =>
  finding('MANIFEST_INVALID', 'a file of the manifest is not the one that was published', {
    file,
    field,
    found,
    fix: PRODUCE_AGAIN,
  })

const otherStore = (file: string, found: StoreId, opened: StoreId): CodedError =>
  finding('MANIFEST_INVALID', 'this manifest belongs to another store', {
    file,
    field: 'store_id',
    found: `${found}; the opened store is ${opened}`,
    fix: 'point store.root to the store that the producer filled, or manifest to the one of this store',
  })

const incomplete = (file: string, { state, error }: ManifestRoot): CodedError =>
  finding('MANIFEST_INVALID', 'this manifest is not complete', {
    file,
    field: 'state',
    found: error === null ? state : `${state} (${error})`,
    fix: 'let the producer finish; it goes on where it stopped',
  })
