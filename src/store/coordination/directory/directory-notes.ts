import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { isErrno } from '../../../core/errors.ts'
import { askAgain } from '../../../core/files/ask-again.ts'
import { makeDirectories } from '../../../core/files/make-folder.ts'
import { openPlain, readPlain } from '../../../core/files/plain-file.ts'
import { removedAtEnd } from '../../../core/files/removed-at-end.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import { removeEmptyFolder, replaceEmptyFolder } from '../../../core/files/whole-folders.ts'
import { publish } from '../../directory/durable.ts'
import { expectOwnFolder, type NameCalls, remoteCalls } from '../../directory/name-calls.ts'
import { isPlainDirectory } from '../../directory/store-root.ts'
import type { Notes } from '../notes.ts'
import { absent, noNotes } from './note-errors.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,250}(\/[A-Za-z0-9][A-Za-z0-9._:-]{0,250}){0,3}$/
const MAX_NOTE = 64 * 1024
const TRIES = 100

/** Notes as small files below `root`, which the store's processes share. `staging` is this member's own folder on the same
 * file system: a fence takes it away, and with it the right to create notes with text. */
export class DirectoryNotes implements Notes {
  readonly #root: string
  readonly #staging: string
  readonly #calls: NameCalls

  constructor(root: string, staging: string, calls = remoteCalls) {
    this.#root = root
    this.#staging = staging
    this.#calls = calls
  }

  create(name: string, text: string): Promise<boolean> {
    return this.#at(name, async (file) => {
      // An empty note cannot be seen half written.
      if (text === '') return createEmpty(this.#root, file)
      const staged = await this.#stage(text)
      await using _staged = removedAtEnd(staged)
      return await inFolder(this.#root, file, staged, () => publish(staged, file))
    })
  }

  createAlone(name: string, text: string): Promise<boolean> {
    return this.#at(name, async (file) => {
      const folder = path.dirname(file)
      const prepared = path.join(this.#staging, `${randomUUID()}.folder`)
      await mkdir(prepared, { mode: 0o700 })
      await using _prepared = removedAtEnd(prepared)
      try {
        await writeWhole(path.join(prepared, path.basename(file)), text)
        return await inFolder(this.#root, folder, prepared, () => replaceEmptyFolder(prepared, folder))
      } catch (error) {
        // NFS may do the rename and lose the answer; the second try then finds nothing to rename.
        if (isErrno(error, 'ENOENT') && (await this.#calls.holds(file, `${prepared}.seen`))) return true
        throw error
      }
    })
  }

  /** Gives `source`, a file of this member, one more name. False when that is taken; true when it is a name of it already. */
  link(name: string, source: string): Promise<boolean> {
    return this.#at(name, (file) => inFolder(this.#root, file, source, () => publish(source, file, this.#calls)))
  }

  write(name: string, text: string): Promise<void> {
    return this.#at(name, async (file) => {
      const staged = await this.#stage(text)
      try {
        await inFolder(this.#root, file, staged, () => rename(staged, file))
      } catch (error) {
        await rm(staged, { force: true }).catch(() => undefined)
        throw error
      }
    })
  }

  has(name: string): Promise<boolean> {
    return this.#at(name, (file) => this.#calls.sees(file))
  }

  read(name: string): Promise<string | null> {
    return this.#at(name, async (file, folderIsThere) => {
      if (!folderIsThere && !(await this.#isThereNow(path.dirname(file)))) return null
      await this.#calls.refresh(file)
      return (await readPlain(file, { maxBytes: MAX_NOTE })).toString('utf8')
    }).catch(absent(null))
  }

  move(from: string, to: string): Promise<boolean> {
    return this.#at(to, async (target) => {
      const source = this.#path(from)
      await this.#expectPlain(from)
      await inFolder(this.#root, target, source, () => rename(source, target))
      return true
    }).catch(absent(false))
  }

  remove(name: string): Promise<boolean> {
    return this.#at(name, async (file) => {
      await unlink(file)
      return true
    }).catch((error: unknown) => this.#whyNotRemoved(name, error))
  }

  /** As `remove`, by way of `staging`: fails once a fence has taken that folder away. */
  withdraw(name: string): Promise<boolean> {
    return this.#at(name, async (file) => {
      const aside = path.join(this.#staging, `${randomUUID()}.removed`)
      try {
        await rename(file, aside)
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw error
        // Either the note is gone or the folder is.
        await expectOwnFolder(this.#staging)
        return false
      }
      await unlink(aside)
      return true
    })
  }

  enter(name: string): Promise<boolean> {
    const file = this.#path(name)
    return this.#at(path.dirname(name), (folder) => this.#makeIn(folder, file))
  }

  leave(name: string, sign: string): Promise<boolean> {
    return this.#at(name, async (file) => {
      await unlink(file).catch(absent(undefined))
      // The folder may go in any case: whoever creates a note in it makes it again.
      const [there] = await Promise.all([this.has(sign), removeEmptyFolder(path.dirname(file)).catch(absent(true))])
      return there
    })
  }

  isNote(name: string): Promise<boolean> {
    return this.#at(name, async (file) => {
      await this.#calls.refresh(file)
      return (await this.#calls.stat(file))?.isFile() === true
    })
  }

  removeFolder(folder: string): Promise<boolean> {
    return this.#at(folder, removeEmptyFolder).catch(absent(true))
  }

  list(folder: string): Promise<readonly string[]> {
    return this.#at(folder, async (dir) => {
      const kind = await this.#kindOf(dir)
      if (kind === 'note') return []
      if (kind === 'nothing') await this.#calls.refresh(dir)
      if (kind === 'folder' || (await this.#kindOf(dir)) === 'folder')
        return await readdir(dir).catch(absent([], 'ENOTDIR'))
      if (!(await isPlainDirectory(this.#root))) throw noNotes(this.#root)
      return []
    }).catch(absent([]))
  }

  rewrite(name: string, text: string): Promise<boolean> {
    return this.#at(name, async (file) => {
      // Opened for writing, so that the server says whether the note is there.
      await this.#calls.refresh(file)
      await using handle = await openPlain(file, undefined, constants.O_WRONLY)
      await handle.write(text, 0)
      return true
    }).catch(absent(false))
  }

  async #stage(text: string): Promise<string> {
    const staged = path.join(this.#staging, `${randomUUID()}.note`)
    await writeWhole(staged, text)
    return staged
  }

  #path(name: string): string {
    if (!NAME.test(name)) throw new Error(`no name for a note: ${JSON.stringify(name.slice(0, 80))}`)
    return path.join(this.#root, name)
  }

  // Whether the note's folder is there. A planted link in its place would lead what is made and removed out of the store.
  async #expectPlain(name: string): Promise<boolean> {
    const above = name.split('/').slice(0, -1)
    const dirs = above.map((_, at) => path.join(this.#root, ...above.slice(0, at + 1)))
    return (await Promise.all(dirs.map((dir) => isPlainDirectory(dir, this.#calls)))).every((isThere) => isThere)
  }

  /** For a folder that was not found: another machine may have made it just now. */
  async #isThereNow(dir: string): Promise<boolean> {
    await this.#calls.refresh(dir)
    return isPlainDirectory(dir, this.#calls)
  }

  /** Makes the empty `file`, and its folder if needed. True also when the file is there already; false for a note `folder`. */
  async #makeIn(folder: string, file: string): Promise<boolean> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        if (!(await this.#ownFolder(folder))) return false
        await this.#calls.makeFile(file)
        return true
      } catch (error) {
        if (isErrno(error, 'EEXIST')) return true
        // Another process found the folder empty and removed it in between; a note may have its name now.
        if (attempt === TRIES || !isErrno(error, 'ENOENT', 'ENOTDIR')) throw error
        await this.#calls.refresh(folder)
        await pauseAfter(attempt)
      }
    }
  }

  /** False when a note has the name of the folder. */
  async #ownFolder(folder: string): Promise<boolean> {
    try {
      await this.#calls.makeFolder(folder)
      return true
    } catch (error) {
      if (isErrno(error, 'ENOENT')) await makeDirectories(folder, 0o700, this.#root)
      else if (!isErrno(error, 'EEXIST')) throw error
    }
    if ((await this.#kindOf(folder)) !== 'note') return true
    // The note may have gone, and a folder come, while this machine has the note in its cache.
    await this.#calls.refresh(folder)
    return (await this.#kindOf(folder)) !== 'note'
  }

  /** In one look: a folder may become a note at any moment. @throws for a planted link. */
  async #kindOf(file: string): Promise<'note' | 'folder' | 'nothing'> {
    const info = await this.#calls.stat(file)
    if (info === null) return 'nothing'
    if (info.isFile()) return 'note'
    if (!info.isDirectory()) await isPlainDirectory(file, this.#calls)
    return 'folder'
  }

  // A folder has the name now: the note was removed before.
  async #whyNotRemoved(name: string, error: unknown): Promise<boolean> {
    if (isErrno(error, 'ENOENT')) return false
    const mayBeFolder = isErrno(error, 'EISDIR', 'EPERM') || isErrno((error as Error).cause, 'EISDIR', 'EPERM')
    if (mayBeFolder && (await this.#calls.stat(this.#path(name)))?.isDirectory() === true) return false
    throw error
  }

  async #at<T>(name: string, task: (file: string, folderIsThere: boolean) => Promise<T>): Promise<T> {
    const file = this.#path(name)
    try {
      return await askAgain(async () => task(file, await this.#expectPlain(name)))
    } catch (error) {
      if (isErrno(error, 'ENOENT')) throw error
      throw storageError(error, file)
    }
  }
}

async function writeWhole(file: string, text: string): Promise<void> {
  await using handle = await open(file, 'wx', 0o600)
  try {
    if (text !== '') await handle.writeFile(text)
  } catch (error) {
    await rm(file, { force: true }).catch(() => undefined)
    throw error
  }
}

async function createEmpty(root: string, file: string): Promise<boolean> {
  try {
    await inFolder(root, file, null, () => writeWhole(file, ''))
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  }
}

/** Runs `task`, which gives `staged` the name `file` below `root`; again when the folder was missing or was removed meanwhile. */
async function inFolder<T>(root: string, file: string, staged: string | null, task: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await task()
    } catch (error) {
      if (attempt === TRIES || !isErrno(error, 'ENOENT')) throw error
      if (staged !== null && !(await isThere(staged))) throw error
      await makeDirectories(path.dirname(file), 0o700, root)
      await pauseAfter(attempt)
    }
  }
}

// A network file system may have cached the removed folder for a second, and until then everything in it is ENOENT.
const pauseAfter = (attempt: number) => (attempt < 3 ? undefined : pause(Math.min(attempt, 25)))

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(() => true, absent(false))
}
