import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../errors.ts'
import { unavailable } from '../files/storage-error.ts'

/**
 * A folder that belongs to one holder. The holder makes things public by renaming or linking them out of it, and removes
 * them by renaming them into it. So `takeAway` fences it: each of its acts from then on fails with ENOENT, decided by the
 * server in that very act, even when the holder was stopped in the middle and wakes up much later.
 *
 * A name is used once: nobody may make a folder of the same name again.
 */
export class PublishingFolder {
  readonly dir: string

  constructor(dir: string) {
    this.dir = dir
  }

  file(name: string): string {
    return path.join(this.dir, name)
  }

  async make(): Promise<void> {
    await mkdir(this.dir, { mode: 0o700 })
  }

  /** Puts `content` at `target`, whole and on disk or not at all. The name is on disk once its folder is synced. */
  async publish(name: string, target: string, content: string | Buffer): Promise<void> {
    // A name that nobody can know before, and a new file: a link that was put there is not written through.
    const staged = this.file(`${name}.${randomUUID()}`)
    try {
      await writeFile(staged, content, { mode: 0o666, flag: 'wx', flush: true })
      await rename(staged, target)
    } catch (error) {
      await rm(staged, { force: true }).catch(() => undefined)
      throw error
    }
  }

  /** Takes a public folder away with all that is in it, in one step. Does nothing when it is not there. */
  async withdraw(folder: string): Promise<void> {
    const aside = this.file(`withdrawn-${randomUUID()}`)
    try {
      await rename(folder, aside)
    } catch (error) {
      // Without its publishing folder the same error means that its holder may remove nothing more.
      if (isErrno(error, 'ENOENT') && (await this.isThere())) return
      throw error
    }
    await rm(aside, { recursive: true, force: true })
  }

  /**
   * False once it was taken away. Makes a file in it to find out: a look might come out of a cache.
   * @throws STORE_UNAVAILABLE when the folder above it is gone too, as with a mount that is gone: that is no fence.
   */
  async isThere(): Promise<boolean> {
    const probe = this.file(`probe-${randomUUID()}`)
    try {
      await writeFile(probe, '', { flag: 'wx', mode: 0o600 })
      await rm(probe, { force: true })
      return true
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ESTALE')) throw error
      await expectAbove(path.dirname(this.dir))
      return false
    }
  }

  async drop(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true })
  }
}

const TRIES = 100
const NAMELESS = 'gone-'

/**
 * Fences the holder of `dir`. Doing it again does nothing, and several may do it at once. `aside`: a name on the same file
 * system that only the fence of this very holder uses, so that whoever comes second also waits until all is gone: a
 * client that has cached the folder could otherwise still publish what lies in it.
 */
export async function takeAway(dir: string, aside: string): Promise<void> {
  await rename(dir, aside).catch((error: unknown) => {
    if (!isErrno(error, 'ENOENT')) throw error
  })
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (await isGone(aside)) return
      await empty(aside)
      await rmdir(aside)
    } catch (error) {
      // The holder, or another who fences it, has changed the folder meanwhile.
      if (attempt === TRIES || !isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ESTALE')) throw error
    }
  }
}

async function expectAbove(dir: string): Promise<void> {
  try {
    await stat(dir)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) return
    const fix = 'mount its file system again, then run the same command'
    throw unavailable('a folder of this run is not there any more', { file: dir, found: 'nothing', fix }, error)
  }
}

const isGone = (dir: string): Promise<boolean> =>
  readdir(dir).then(
    () => false,
    (error: unknown) => {
      if (isErrno(error, 'ENOENT')) return true
      throw error
    },
  )

/**
 * A folder inside is renamed before it is removed piece by piece. Whoever has cached `dir` then publishes it whole, or
 * fails because its name is gone, but never publishes a part of it.
 */
async function empty(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const hasName = entry.isDirectory() && !entry.name.startsWith(NAMELESS)
    const [file, nameless] = [path.join(dir, entry.name), path.join(dir, `${NAMELESS}${randomUUID()}`)]
    if (hasName) await rename(file, nameless)
    await rm(hasName ? nameless : file, { recursive: true, force: true })
  }
}
