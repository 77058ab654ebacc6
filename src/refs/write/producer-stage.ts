import { randomUUID } from 'node:crypto'
import { access, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../../core/errors.ts'
import { syncPath } from '../../core/files/atomic-file.ts'
import { makeDirectories } from '../../core/files/make-folder.ts'

const STAGE = '.producer-'
const FENCED = '.fenced-'

/**
 * The folder in a manifest from which one producer publishes. All it changes in the manifest is a rename out of or into
 * it, so that taking it away ends that producer: one that was only stopped and wakes up again can change nothing.
 */
export class ProducerStage implements AsyncDisposable {
  readonly #dir: string
  readonly #own: string

  private constructor(dir: string, own: string) {
    this.#dir = dir
    this.#own = own
  }

  /** Takes over: earlier producers of this manifest publish no more. What lies in `dir` must be read after this. */
  static async open(dir: string): Promise<ProducerStage> {
    await makeDirectories(dir, 0o777)
    const name = `${STAGE}${randomUUID()}`
    // Before the others are fenced: of two that start at once, at most one goes on.
    await mkdir(path.join(dir, name), { mode: 0o700 })
    for (const entry of await readdir(dir)) {
      if (entry === name || !(entry.startsWith(STAGE) || entry.startsWith(FENCED))) continue
      const aside = path.join(dir, `${FENCED}${randomUUID()}`)
      await rename(path.join(dir, entry), aside).catch(ignoreGone)
      await rm(aside, { recursive: true, force: true })
    }
    await syncPath(dir)
    return new ProducerStage(dir, path.join(dir, name))
  }

  /** Puts `content` at `name` in the manifest, whole and on disk or not at all. Follow it with `sync`. */
  async publish(name: string, content: string | Buffer): Promise<void> {
    const staged = path.join(this.#own, name)
    try {
      const handle = await open(staged, 'w', 0o666)
      try {
        await handle.writeFile(content)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(staged, path.join(this.#dir, name))
    } catch (error) {
      await rm(staged, { force: true })
      throw await this.#explained(error)
    }
  }

  /** Makes what was published survive the loss of power. */
  async sync(): Promise<void> {
    await syncPath(this.#dir).catch(async (error: unknown) => Promise.reject(await this.#explained(error)))
  }

  /** Removes a file that the root lists no more. */
  async retire(name: string): Promise<void> {
    const aside = path.join(this.#own, `${name}.old`)
    try {
      await rename(path.join(this.#dir, name), aside)
      await rm(aside, { force: true })
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
      await access(this.#own).catch(async () => Promise.reject(await this.#explained(error)))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#own, { recursive: true, force: true })
  }

  /** What `read` reads of the manifest; when that is gone because another producer has taken over, says so. */
  async reading<T>(read: () => T): Promise<T> {
    try {
      return read()
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
      await access(this.#own).catch(async () => Promise.reject(await this.#explained(error)))
      throw error
    }
  }

  async #explained(error: unknown): Promise<unknown> {
    if (!isErrno(error, 'ENOENT')) return error
    const where = { file: this.#dir, fix: 'leave the manifest to the other producer, or stop that one and start again' }
    try {
      await access(this.#dir)
    } catch {
      const fix = 'run the producer again; features in the store stay'
      const found = 'no such folder'
      return finding('MANIFEST_INVALID', 'the manifest folder is gone, though its producer is still at work', {
        ...where,
        found,
        fix,
      })
    }
    const found = 'the folder that this process publishes from was taken away'
    return finding('STORE_BUSY', 'another producer has taken over', { ...where, found }, { cause: error })
  }
}

function ignoreGone(error: unknown): void {
  if (!isErrno(error, 'ENOENT')) throw error
}
