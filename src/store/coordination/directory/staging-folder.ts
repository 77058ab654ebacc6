import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../../../core/errors.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import { takeAway } from '../../../core/liveness/publishing-folder.ts'
import { expectOwnFolder, isOnServer } from '../../directory/name-calls.ts'
import type { MemberFolder } from '../coordination.ts'

const SYNCHRONOUS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_DSYNC

/**
 * `staging/<memberId>`: everything that one member has not published yet. Publishing is a link or rename out of the folder
 * and removing is a rename into it. A fence renames the folder away: then the member can do neither, even if it was
 * stopped in the middle and wakes up much later. The folder is made once and never again.
 */
export class StagingFolder implements MemberFolder {
  readonly dir: string
  readonly #staging: string

  constructor(staging: string, memberId: string) {
    this.#staging = staging
    this.dir = path.join(staging, memberId)
  }

  /** A new file, synced before it is used. */
  async makeSynced(name: string, text: string): Promise<void> {
    await using handle = await open(this.file(name), SYNCHRONOUS, 0o600)
    await handle.writeFile(text)
  }

  file(name: string): string {
    return path.join(this.dir, name)
  }

  /** `expectFit` is called with the new folder, before anything is written. */
  async make<T>(expectFit: (dir: string) => Promise<T>): Promise<T> {
    try {
      await mkdir(this.dir, { mode: 0o700 }).catch((error: unknown) => {
        // Made before, by a call after which something else failed: the id is nobody else's.
        if (!isErrno(error, 'EEXIST')) throw error
      })
      return await expectFit(this.dir)
    } catch (error) {
      // So that it can be made again.
      await rm(this.dir, { recursive: true, force: true }).catch(() => undefined)
      throw storageError(error, this.dir)
    }
  }

  async removeThrough(file: string, tries = 3): Promise<number> {
    const aside = this.file(`${randomUUID()}.removed`)
    try {
      const { size } = await lstat(file)
      await rename(file, aside)
      await rm(aside, { recursive: true })
      return size
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
      if (tries > 1 && (await isOnServer(file))) return this.removeThrough(file, tries - 1)
      // Either another process has removed the file, or this member was fenced: then this throws.
      await expectOwnFolder(this.dir)
      return 0
    }
  }

  /** Takes another member's folder away, with everything in it. Doing it again does nothing. */
  async takeAway(memberId: string): Promise<void> {
    try {
      await takeAway(path.join(this.#staging, memberId), path.join(this.#staging, `fenced.${memberId}`))
    } catch (error) {
      throw storageError(error, this.#staging)
    }
  }

  async drop(): Promise<void> {
    try {
      await rm(this.dir, { recursive: true, force: true })
    } catch (error) {
      throw storageError(error, this.dir)
    }
  }
}
