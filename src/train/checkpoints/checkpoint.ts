import { createHash } from 'node:crypto'
import { type FileHandle, readdir, rm, unlink } from 'node:fs/promises'
import path from 'node:path'
import { type CodedError, finding, isErrno } from '../../core/errors.ts'
import { replaceFile, syncFolder } from '../../core/files/atomic-file.ts'
import { makeDirectories } from '../../core/files/make-folder.ts'
import { openPlain } from '../../core/files/plain-file.ts'
import { PublishingFolder } from '../../core/liveness/publishing-folder.ts'
import {
  type CheckpointPosition,
  type CheckpointRecord,
  DISCARD,
  metricIn,
  parseRecord,
  recordText,
} from './checkpoint-record.ts'

export const RECORD = 'checkpoint.json'
const FOLDER = /^step-(\d{6,})$/

export interface Checkpoint {
  readonly dir: string
  readonly record: CheckpointRecord
}

/**
 * The checkpoints of one run. A folder counts from the moment its `checkpoint.json` is renamed in and until that file
 * is unlinked, so a crash at any point leaves every folder either whole or ignored.
 */
export class CheckpointFolder {
  readonly #dir: string
  readonly #publishing: PublishingFolder | null

  /** `publishFrom`: the publishing folder of the claim on the run. Null: the run is not claimed. */
  constructor(dir: string, publishFrom: string | null = null) {
    this.#dir = dir
    this.#publishing = publishFrom === null ? null : new PublishingFolder(publishFrom)
  }

  pathOf(step: number): string {
    return path.join(this.#dir, `step-${String(step).padStart(6, '0')}`)
  }

  /** The complete checkpoint with the most steps, or null. Does not check its files: `verify` does. */
  async newest(): Promise<Checkpoint | null> {
    for (const step of (await this.#steps()).reverse()) {
      const dir = this.pathOf(step)
      const file = path.join(dir, RECORD)
      const text = await recordText(file)
      if (text !== null) return { dir, record: parseRecord(text, file) }
    }
    return null
  }

  /**
   * An empty folder for the files of this step. Deletes what an interrupted save left there.
   * @throws STORE_BUSY when this process was taken for dead: the folder may be its successor's.
   */
  async begin(step: number): Promise<string> {
    await this.#expectHeld()
    const dir = this.pathOf(step)
    await discard(dir)
    await makeDirectories(dir, 0o777)
    return dir
  }

  /**
   * Makes the folder a checkpoint. All files must be there. Then it deletes older folders, incomplete ones too. It keeps the
   * newest `keep` checkpoints and the one with the best metric.
   * @throws STORE_BUSY when this process was taken for dead: then nothing has become a checkpoint.
   */
  async complete(record: CheckpointPosition, keep: number): Promise<string> {
    const dir = this.pathOf(record.globalStep)
    const files: CheckpointRecord['files'] = []
    for (const name of (await readdir(dir)).sort()) {
      const file = path.join(dir, name)
      files.push({ name, ...(await measureSynced(file)) })
    }
    await this.#publishRecord(path.join(dir, RECORD), `${JSON.stringify({ ...record, files }, null, 2)}\n`)
    await syncFolder(this.#dir)
    await this.#retain(record.globalStep, keep)
    return dir
  }

  /**
   * Deletes what a failed save has written. Keeps a checkpoint that was completed in spite of the failure, and deletes nothing
   * when another trainer may own the run. Never throws.
   */
  async abandon(step: number): Promise<void> {
    const dir = this.pathOf(step)
    const isHeld = await this.#expectHeld().then(
      () => true,
      () => false,
    )
    if (!isHeld) return
    const whole = recordText(path.join(dir, RECORD)).then((text) => text !== null)
    // The caller reports the failure. A folder without a record is ignored later.
    if (!(await whole.catch(() => true))) await rm(dir, { recursive: true, force: true }).catch(() => undefined)
  }

  // Renamed out of the publishing folder: when another trainer has taken that folder away, the rename itself fails.
  async #publishRecord(file: string, text: string): Promise<void> {
    if (this.#publishing === null) return replaceFile(file, text)
    try {
      await this.#publishing.publish(RECORD, file, text)
    } catch (error) {
      await this.#expectHeld()
      throw error
    }
    await syncFolder(path.dirname(file))
  }

  async #expectHeld(): Promise<void> {
    if (this.#publishing === null || (await this.#publishing.isThere())) return
    throw finding('STORE_BUSY', 'this trainer was taken for dead, and another one may train the run now', {
      file: this.#dir,
      found: 'the folder that this trainer publishes checkpoints from was taken away',
      fix: 'leave the run to the other trainer; it goes on from the last complete checkpoint',
    })
  }

  async #retain(step: number, keep: number): Promise<void> {
    const whole: { readonly step: number; readonly metric: number | null }[] = []
    for (const other of await this.#steps()) {
      const text = await recordText(path.join(this.pathOf(other), RECORD))
      if (text !== null) whole.push({ step: other, metric: metricIn(text) })
      else if (other < step) await discard(this.pathOf(other))
    }
    const best = bestOf(whole)
    for (const old of whole.slice(0, -keep)) if (old.step !== best) await discard(this.pathOf(old.step))
  }

  async #steps(): Promise<number[]> {
    try {
      const names = await readdir(this.#dir)
      const steps = names.flatMap((name) => FOLDER.exec(name)?.[1] ?? []).map(Number)
      return steps.sort((a, b) => a - b)
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return []
      throw error
    }
  }
}

/** @throws CHECKPOINT_INVALID when a file is missing, or is not the one that was written. */
export async function verify({ dir, record }: Checkpoint): Promise<void> {
  for (const { name, bytes, sha256 } of record.files) {
    const file = path.join(dir, name)
    const found = await openedFile(file).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) throw otherFile(file, 'bytes', 'no such file')
      throw error
    })
    await using handle = found
    const { size } = await handle.stat()
    if (size !== bytes) throw otherFile(file, 'bytes', `${size} bytes; expected ${bytes}`)
    const sum = await sumOf(handle)
    if (sum !== sha256) throw otherFile(file, 'sha256', `${sum}; expected ${sha256}`)
  }
}

async function measureSynced(file: string): Promise<{ bytes: number; sha256: string }> {
  await using handle = await openedFile(file)
  await handle.sync()
  return { bytes: (await handle.stat()).size, sha256: await sumOf(handle) }
}

const openedFile = (file: string): Promise<FileHandle> => openPlain(file, (found) => otherFile(file, 'file', found))

async function sumOf(handle: FileHandle): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of handle.createReadStream({ autoClose: false, start: 0 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

const otherFile = (file: string, field: string, found: string): CodedError =>
  finding('CHECKPOINT_INVALID', 'a file of the checkpoint is not the one that was written', {
    file,
    field,
    found,
    fix: DISCARD,
  })

/**
 * The step with the largest metric; null when none has one. Of equals the oldest: a checkpoint between two validations
 * bears the metric of the one before it, which was measured earlier.
 */
function bestOf(ascending: readonly { readonly step: number; readonly metric: number | null }[]): number | null {
  let best: { readonly step: number; readonly metric: number } | null = null
  for (const { step, metric } of ascending) {
    if (metric !== null && metric > (best?.metric ?? Number.NEGATIVE_INFINITY)) best = { step, metric }
  }
  return best?.step ?? null
}

/** The record goes first, so that a removal that is interrupted leaves nothing that looks whole. */
async function discard(dir: string): Promise<void> {
  await unlink(path.join(dir, RECORD)).catch((error: unknown) => {
    if (!isErrno(error, 'ENOENT')) throw error
  })
  await rm(dir, { recursive: true, force: true })
}
