import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CodedError, finding, isErrno } from '../../core/errors.ts'
import { syncFolder } from '../../core/files/atomic-file.ts'
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
/** How often, and how far apart, a checkpoint is looked for that another node sees already. */
const [LOOKS, LOOK_MS] = [20, 500]

export interface Checkpoint {
  readonly dir: string
  readonly record: CheckpointRecord
}

/** Where a run that is not claimed stages its checkpoints, in the folder of the checkpoints. */
const UNCLAIMED = '.unclaimed'

/**
 * The checkpoints of one run. A checkpoint is staged in the publishing folder of the claim on the run and renamed out of
 * it, record and all. It is removed by a rename into that folder. So a kill leaves every checkpoint whole or not there,
 * and a trainer that was taken for dead can neither add nor remove one, wherever it was stopped: without the folder the
 * next rename fails, and files that it goes on writing are nobody's.
 */
export class CheckpointFolder {
  readonly #dir: string
  readonly #publishing: PublishingFolder
  readonly #isClaimed: boolean

  /** `publishFrom`: the publishing folder of the claim on the run. Null: the run is not claimed. */
  constructor(dir: string, publishFrom: string | null = null) {
    this.#dir = dir
    this.#isClaimed = publishFrom !== null
    this.#publishing = new PublishingFolder(publishFrom ?? path.join(dir, UNCLAIMED))
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
   * The complete checkpoint of a step that another node has named. A network file system may show it later here.
   * @throws CHECKPOINT_INVALID when it is not to be seen.
   */
  async at(step: number): Promise<Checkpoint> {
    const dir = this.pathOf(step)
    const file = path.join(dir, RECORD)
    for (let look = 1; look <= LOOKS; look += 1) {
      const text = await recordText(file)
      if (text !== null) return { dir, record: parseRecord(text, file) }
      // A listing is asked of the server, and renews what this machine believes of the names in it.
      await this.#steps()
      await sleep(LOOK_MS)
    }
    throw finding('CHECKPOINT_INVALID', 'the checkpoint that the first node goes on from is not to be seen here', {
      file: dir,
      field: 'run.dir',
      found: 'no such checkpoint',
      fix: 'mount the same folder at run.dir on all nodes',
    })
  }

  /**
   * An empty folder for the files of this step, to be made a checkpoint by `complete`.
   * @throws STORE_BUSY when this process was taken for dead.
   */
  async begin(step: number): Promise<string> {
    const staged = this.#staged(step)
    return this.#whileHeld(async () => {
      await makeDirectories(this.#dir, 0o777)
      if (!this.#isClaimed) {
        await this.#publishing.drop()
        await this.#publishing.make()
      }
      await rm(staged, { recursive: true, force: true })
      await mkdir(staged)
      return staged
    })
  }

  /**
   * Makes the folder a checkpoint. All files must be there. Then it deletes older folders, incomplete ones too. It keeps the
   * newest `keep` checkpoints and the one with the best metric.
   * @throws STORE_BUSY when this process was taken for dead.
   */
  async complete(record: CheckpointPosition, keep: number): Promise<string> {
    const { globalStep: step } = record
    const [staged, dir] = [this.#staged(step), this.pathOf(step)]
    await this.#whileHeld(async () => {
      const text = `${JSON.stringify({ ...record, files: await measuredFiles(staged) }, null, 2)}\n`
      await writeFile(path.join(staged, RECORD), text, { flush: true })
      await syncFolder(staged)
      await this.#withdraw(step)
      await renameOnce(staged, dir, text)
      await syncFolder(this.#dir)
      await this.#retain(step, keep)
    })
    if (!this.#isClaimed) await this.#publishing.drop()
    return dir
  }

  /**
   * Deletes what a failed save has written. Keeps a checkpoint that was completed in spite of the failure.
   * @throws STORE_BUSY when this process was taken for dead: the save failed because of that. Nothing else.
   */
  async abandon(step: number): Promise<void> {
    await this.#expectHeld()
    const left = this.#isClaimed ? this.#staged(step) : this.#publishing.dir
    // The caller reports why the save failed.
    await rm(left, { recursive: true, force: true }).catch(() => undefined)
  }

  #staged(step: number): string {
    return this.#publishing.file(path.basename(this.pathOf(step)))
  }

  /** @throws STORE_BUSY when `task` fails and this process was taken for dead, else what `task` throws. */
  async #whileHeld<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } catch (error) {
      await this.#expectHeld(error)
      throw error
    }
  }

  async #expectHeld(cause?: unknown): Promise<void> {
    // A folder that cannot be reached was not taken away.
    if (!this.#isClaimed || (await this.#publishing.isThere().catch(() => true))) return
    const where = {
      file: this.#dir,
      found: 'the folder that this trainer publishes checkpoints from was taken away',
      fix: 'leave the run to the other trainer; it goes on from the last complete checkpoint',
    }
    throw finding('STORE_BUSY', 'this trainer was taken for dead, and another one may train the run now', where, {
      cause,
    })
  }

  // What is no folder is not ours, and stays.
  async #withdraw(step: number): Promise<void> {
    const isFolder = await stat(this.pathOf(step)).then(
      (found) => found.isDirectory(),
      (error: unknown) => {
        if (isErrno(error, 'ENOENT')) return false
        throw error
      },
    )
    if (isFolder) await this.#publishing.withdraw(this.pathOf(step))
  }

  async #retain(step: number, keep: number): Promise<void> {
    const whole: { readonly step: number; readonly metric: number | null }[] = []
    for (const other of await this.#steps()) {
      const text = await recordText(path.join(this.pathOf(other), RECORD))
      if (text !== null) whole.push({ step: other, metric: metricIn(text) })
      else if (other < step) await this.#withdraw(other)
    }
    const best = bestOf(whole)
    for (const old of whole.slice(0, -keep)) if (old.step !== best) await this.#withdraw(old.step)
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

/** What a record says of its files, each of them on disk. */
async function measuredFiles(dir: string): Promise<CheckpointRecord['files']> {
  const files: CheckpointRecord['files'] = []
  for (const name of (await readdir(dir)).sort()) files.push({ name, ...(await measureSynced(path.join(dir, name))) })
  return files
}

/** Renames a staged checkpoint with this record. A network file system may do that and lose the answer, so it looks. */
async function renameOnce(staged: string, dir: string, record: string): Promise<void> {
  try {
    await rename(staged, dir)
  } catch (error) {
    const there = await recordText(path.join(dir, RECORD)).catch(() => null)
    // The error names the staged folder, and what is wrong is where it should go.
    if (there !== record) throw error instanceof Error ? Object.assign(error, { path: dir }) : error
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
