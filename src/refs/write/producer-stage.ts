import { randomUUID } from 'node:crypto'
import { access, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../../core/errors.ts'
import { syncFolder } from '../../core/files/atomic-file.ts'
import { makeDirectories } from '../../core/files/make-folder.ts'
import { PublishingFolder, takeAway } from '../../core/liveness/publishing-folder.ts'

const STAGE = '.producer-'
const FENCED = '.fenced-'

/**
 * The folder in a manifest from which one producer publishes. Opening it fences all earlier producers, alive or dead:
 * the claim on the manifest has already decided which producer may work.
 */
export class ProducerStage implements AsyncDisposable {
  readonly #dir: string
  readonly #own: PublishingFolder

  private constructor(dir: string, own: PublishingFolder) {
    this.#dir = dir
    this.#own = own
  }

  /** Takes over: earlier producers of this manifest publish no more. What lies in `dir` must be read after this. */
  static async open(dir: string): Promise<ProducerStage> {
    await makeDirectories(dir, 0o777)
    const name = `${STAGE}${randomUUID()}`
    const own = new PublishingFolder(path.join(dir, name))
    // Before the others are fenced: of two that start at once, at most one goes on.
    await own.make()
    for (const entry of await readdir(dir)) {
      const id = [STAGE, FENCED].find((prefix) => entry.startsWith(prefix))
      if (id === undefined || entry === name) continue
      await takeAway(path.join(dir, entry), path.join(dir, `${FENCED}${entry.slice(id.length)}`))
    }
    await syncFolder(dir)
    return new ProducerStage(dir, own)
  }

  /** Puts `content` at `name` in the manifest, whole and on disk or not at all. Follow it with `sync`. */
  async publish(name: string, content: string | Buffer): Promise<void> {
    await this.#explaining(() => this.#own.publish(name, path.join(this.#dir, name), content))
  }

  /** Makes what was published survive the loss of power. */
  async sync(): Promise<void> {
    await this.#explaining(() => syncFolder(this.#dir))
  }

  /** Removes a file that the root does not list. A file that is gone already is fine. */
  async retire(name: string): Promise<void> {
    const aside = this.#own.file(`${name}.old`)
    try {
      await rename(path.join(this.#dir, name), aside)
      await rm(aside, { force: true })
    } catch (error) {
      if (!isErrno(error, 'ENOENT') || !(await this.#own.isThere())) throw await this.#explained(error)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#own.drop()
  }

  /** Runs `read`, which reads files of the manifest. Where one is missing because of a take-over, the error says so. */
  async reading<T>(read: () => T): Promise<T> {
    try {
      return read()
    } catch (error) {
      throw (await this.#own.isThere()) ? error : await this.#explained(error)
    }
  }

  async #explaining(task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      throw await this.#explained(error)
    }
  }

  async #explained(error: unknown): Promise<unknown> {
    if (!isErrno(error, 'ENOENT')) return error
    try {
      await access(this.#dir)
    } catch {
      return finding('MANIFEST_INVALID', 'the manifest folder is gone, though its producer is still at work', {
        file: this.#dir,
        found: 'no such folder',
        fix: 'run the producer again; features in the store stay',
      })
    }
    return finding(
      'STORE_BUSY',
      'another producer has taken over',
      {
        file: this.#dir,
        found: 'the folder that this process publishes from was taken away',
        fix: 'leave the manifest to the other producer, or stop that one and start again',
      },
      { cause: error },
    )
  }
}
