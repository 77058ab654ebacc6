import { readdir, rm, rmdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { hasCode, isErrno } from '../../../core/errors.ts'
import { makeDirectories } from '../../../core/files/make-folder.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import { isPlainDirectory } from '../../directory/store-root.ts'
import { SerialQueue } from '../../serial-queue.ts'

/** Enough for a member (a folder, a note, a probe), the notes of one removal, a lock, and a few blocks each. */
const FILES = 12
const FILE_BYTES = 8192

/**
 * Room that a store keeps for the removal of things: `reserve/<number>`, files that mean nothing. On a disk without room
 * for one more file they are removed first; the few notes without which nothing is removed safely take their place, and
 * go again with what they were for. Other processes may take that room; then the store is as full as without a reserve.
 */
export class Reserve {
  readonly #dir: string
  readonly #turns = new SerialQueue<'room'>()

  constructor(dir: string) {
    this.#dir = dir
  }

  /** Makes what is missing of it, as far as there is room. Whether it is whole now. */
  async fill(): Promise<boolean> {
    try {
      const there = new Set(await this.#names())
      if (there.size >= FILES) return true
      await makeDirectories(this.#dir, 0o700, path.dirname(this.#dir))
      for (let number = 0; number < FILES; number += 1) {
        if (!there.has(String(number))) await this.#make(path.join(this.#dir, String(number)))
      }
      return true
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw storageError(error, this.#dir)
      // A folder with nothing in it would only take room.
      await rmdir(this.#dir).catch(() => undefined)
      return false
    }
  }

  /**
   * Runs `task`, which frees room or must be done before any is freed. Where it fails for want of room, it is run again:
   * alone, when other tasks may have freed some, and then with the reserve. So it must do nothing when it fails.
   */
  async run<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } catch (error) {
      if (!hasCode(error, 'STORE_FULL')) throw error
      return this.#turns.run('room', () => this.#runAlone(task))
    }
  }

  async #runAlone<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } catch (error) {
      if (!hasCode(error, 'STORE_FULL') || !(await this.#spend())) throw error
    }
    await using _filled = { [Symbol.asyncDispose]: async () => void (await this.fill()) }
    return await task()
  }

  /** False when there was nothing left of it. */
  async #spend(): Promise<boolean> {
    const names = await this.#names()
    for (const name of names) await rm(path.join(this.#dir, name), { force: true })
    return names.length > 0
  }

  async #names(): Promise<readonly string[]> {
    if (!(await isPlainDirectory(this.#dir))) return []
    return (await readdir(this.#dir)).filter((name) => /^\d{1,4}$/.test(name))
  }

  async #make(file: string): Promise<void> {
    try {
      await writeFile(file, Buffer.alloc(FILE_BYTES), { flag: 'wx', mode: 0o600 })
    } catch (error) {
      // Another process was first.
      if (isErrno(error, 'EEXIST')) return
      await rm(file, { force: true }).catch(() => undefined)
      throw error
    }
  }
}
