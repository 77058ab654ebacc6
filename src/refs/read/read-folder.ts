import path from 'node:path'
import { type CodedError, finding, hasCode, isErrno } from '../../core/errors.ts'
import { readPlain } from '../../core/files/plain-file.ts'
import type { ProducedHealth } from '../../core/produced-health.ts'
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
import type { RefSource } from './ref-list.ts'
import { countLines, SegmentLines } from './segment-lines.ts'

/** What one producer has published in one folder: a whole manifest, or one part. */
export interface FolderRead {
  readonly dir: string
  readonly root: ManifestRoot
  readonly source: RefSource
  /** What the producer counted; null in manifests of earlier versions, and until it is complete or failed. */
  readonly health: ProducedHealth | null
  readonly sha256: string
}

const ATTEMPTS = 10
/** Of one file that a root lists. Segments have 4 MiB; all of them are kept in memory, so a larger one helps nobody. */
const MAX_LISTED_BYTES = 1024 ** 3

/**
 * Every file that the root lists, compared to its sum. `seen`: the root, where it was just read.
 * @throws MANIFEST_INVALID for what is damaged or not there; STORE_AUTH.
 */
export async function readFolder(dir: string, key: RootKey | null, seen: RootFile | null = null): Promise<FolderRead> {
  for (let attempt = 1; ; attempt += 1) {
    const found = attempt === 1 && seen !== null ? seen : await requireRoot(dir, key)
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

async function readAll(dir: string, { root, text }: RootFile): Promise<FolderRead> {
  const segments = await readSegments(dir, root)
  if (root.token_counts !== null) await readListed(dir, root.token_counts)
  const health = root.health === null ? null : await readHealth(dir, root.health)
  const { run_id: runId, store_id: storeId, specs, provenance_keys: keys } = root
  return { dir, root, health, source: { root: { runId, storeId, specs, keys }, segments }, sha256: sha256(text) }
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
    // A line has a newline at least, so that a wrong count cannot ask for more memory than the file has bytes.
    const lines = new SegmentLines(file, bytes, Math.min(entry.count, bytes.length))
    if (lines.length !== entry.count || !lines.isWhole) {
      const found = countLines(bytes) ?? 'a cut last line, not'
      throw damaged(file, 'count', `${found} lines; the root lists ${entry.count}`)
    }
    segments.push(lines)
  }
  return segments
}

async function requireRoot(dir: string, key: RootKey | null): Promise<RootFile> {
  const found = await readManifestRoot(dir, key)
  if (found !== null) return found
  throw noManifest(dir)
}

export function noManifest(dir: string): CodedError {
  const fix = 'run the producer first, and give both roles the same `manifest`'
  const file = path.join(dir, ROOT_FILE)
  return finding('MANIFEST_INVALID', 'there is no manifest', { file, found: 'no such file', fix })
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
