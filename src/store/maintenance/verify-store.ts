import { z } from 'zod'
import { type CodedError, finding, hasCode } from '../../core/errors.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import type { BlobKey } from '../blob-key.ts'
import type { StoredBlob } from '../blobs/blobs.ts'
import type { FoundObject, Inventory } from '../blobs/inventory.ts'
import { expectDigests, expectMetadata, expectSpecs } from '../paths/ref-checks.ts'
import type { StoreParts } from '../store-parts.ts'

const PROGRESS = 'verify/progress'
/** Objects that are read together: enough to keep the disk busy, bounded in memory where their sizes are known. */
const BATCH = { objects: 16, bytes: 2 ** 29 }

export interface BadObject extends BlobKey {
  readonly file: string
  readonly code: string
  readonly message: string
  /** A given manifest has a ref of it. */
  readonly listed: boolean
}

export interface Verified {
  readonly objects: number
  readonly bytes: number
}

export interface VerifyOptions {
  /** Only reports: bad objects stay where they are. */
  readonly dryRun: boolean
  /** Check all objects again, even if an earlier check was interrupted. */
  readonly restart: boolean
  readonly refOf: (key: BlobKey) => SampleRef | undefined
  readonly onProgress: (done: Verified, all: Verified) => void
  readonly signal: AbortSignal
}

export interface VerifyReport extends Verified {
  readonly dryRun: boolean
  /** How many of these an earlier, interrupted check has checked. */
  readonly before: number
  readonly bad: readonly BadObject[]
}

const Progress = z.strictObject({
  version: z.literal(1),
  /** Objects are checked in the order of their names; all up to this one are done. */
  after: z.string(),
  objects: z.number().int().nonnegative(),
  bytes: z.number().int().nonnegative(),
})
type Progress = z.output<typeof Progress>

/**
 * Reads every object again and checks its header, digests and auth, and that it is the object that its name and its ref
 * (where there is one) say. Bad objects go into quarantine. After an interruption the next check goes on where this one
 * stopped; an object that was put meanwhile is checked only if its name comes after that place.
 */
export async function verifyStore(parts: StoreParts, files: Inventory, options: VerifyOptions): Promise<VerifyReport> {
  const { dryRun, onProgress, signal } = options
  if (!dryRun) await begin(parts)
  const all = await inOrder(files, signal)
  const earlier = dryRun || options.restart ? null : await readProgress(parts)
  const left = earlier === null ? all : all.filter((object) => placeOf(object) > earlier.after)
  const total = { objects: all.length, bytes: all.reduce((sum, object) => sum + object.bytes, 0) }
  let done = { objects: all.length - left.length, bytes: total.bytes - left.reduce((sum, { bytes }) => sum + bytes, 0) }
  const before = done.objects
  const bad: BadObject[] = []
  onProgress(done, total)
  for (const batch of batches(left, options.refOf)) {
    signal.throwIfAborted()
    bad.push(...(await checked(parts, batch, options)))
    done = {
      objects: done.objects + batch.length,
      bytes: done.bytes + batch.reduce((sum, { bytes }) => sum + bytes, 0),
    }
    const last = batch.at(-1)
    if (!dryRun && last !== undefined) await writeProgress(parts, { version: 1, after: placeOf(last), ...done })
    onProgress(done, total)
  }
  if (!dryRun) await parts.coordination.notes.remove(PROGRESS)
  return { ...done, dryRun, before, bad }
}

async function begin({ members, space }: StoreParts): Promise<void> {
  await members.join()
  await space.open()
}

async function checked(parts: StoreParts, batch: readonly FoundObject[], options: VerifyOptions): Promise<BadObject[]> {
  const requests = batch.map(({ key }) => {
    // The object's size does not include tensors in a file beside it, so without a ref there is no bound.
    const maxBytes = options.refOf(key)?.bytes ?? Number.MAX_SAFE_INTEGER
    return { key, names: null, rows: null, verify: true, maxBytes }
  })
  const blobs = await parts.blobs.read(requests)
  const bad: BadObject[] = []
  for (const [index, object] of batch.entries()) {
    const problem = await problemOf(parts, object, blobs[index] ?? null, options)
    if (problem === null) continue
    if (!options.dryRun) await parts.quarantine(object.key, `${problem.code}: ${problem.message}`)
    const { code, message } = problem
    bad.push({ ...object.key, file: object.file, code, message, listed: options.refOf(object.key) !== undefined })
  }
  return bad
}

/** What is wrong with an object; null when it is good, or was freed meanwhile. */
async function problemOf(
  parts: StoreParts,
  { key, file }: FoundObject,
  blob: StoredBlob | Error | null,
  { refOf }: VerifyOptions,
): Promise<CodedError | null> {
  try {
    if (blob === null) return null
    if (blob instanceof Error) throw blob
    await using _ = blob.tensors
    expectOwnName(parts, key, file, blob)
    const ref = refOf(key)
    if (ref === undefined) return null
    expectMetadata(ref, blob.metadata)
    expectSpecs(ref, ref.features, blob.tensors.features)
    expectDigests(ref, blob)
    return null
  } catch (error) {
    if (hasCode(error, 'SAMPLE_CORRUPT', 'SPEC_MISMATCH')) return error
    throw error
  }
}

function expectOwnName({ id }: StoreParts, key: BlobKey, file: string, { metadata }: StoredBlob): void {
  const own = { store_id: id, sample_id: key.sampleId, generation: String(key.generation) }
  for (const [field, value] of Object.entries(own)) {
    if (metadata[field] === value) continue
    throw finding('SAMPLE_CORRUPT', 'the object does not belong to its file name', {
      file,
      field: `__metadata__.${field}`,
      found: `${metadata[field] ?? 'nothing'}; it should be ${value}`,
      fix: 'run the producer again: it makes only the missing samples',
    })
  }
}

async function inOrder(files: Inventory, signal: AbortSignal): Promise<readonly FoundObject[]> {
  const all: FoundObject[] = []
  for await (const object of files.objects()) {
    signal.throwIfAborted()
    all.push(object)
  }
  return all.sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
}

const placeOf = ({ key }: FoundObject): string => `${key.sampleId}.${key.generation}`

function* batches(objects: readonly FoundObject[], refOf: VerifyOptions['refOf']): Iterable<readonly FoundObject[]> {
  let batch: FoundObject[] = []
  let bytes = 0
  for (const object of objects) {
    const size = Math.max(object.bytes, refOf(object.key)?.bytes ?? 0)
    if (batch.length === BATCH.objects || (batch.length > 0 && bytes + size > BATCH.bytes)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(object)
    bytes += size
  }
  if (batch.length > 0) yield batch
}

async function readProgress({ coordination }: StoreParts): Promise<Progress | null> {
  const text = await coordination.notes.read(PROGRESS)
  try {
    return text === null ? null : (Progress.safeParse(JSON.parse(text)).data ?? null)
  } catch {
    return null
  }
}

const writeProgress = ({ coordination }: StoreParts, progress: Progress): Promise<void> =>
  coordination.inReserve(() => coordination.notes.write(PROGRESS, JSON.stringify(progress)))
