import { constants } from 'node:fs'
import { mkdir, readdir, rename, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../errors.ts'
import { askAgain } from '../files/ask-again.ts'
import { openPlain, readPlain } from '../files/plain-file.ts'
import { removedAtEnd } from '../files/removed-at-end.ts'
import { removeEmptyFolder, replaceEmptyFolder } from '../files/whole-folders.ts'
import { PublishingFolder, takeAway } from './publishing-folder.ts'

const NOTE = 'holder.json'
const MAX_NOTE = 16 * 1024

/** One holder of a claim, as the name in the claim's folder says it. `epoch` grows by one with each takeover. */
export interface ClaimName {
  readonly epoch: number
  readonly id: string
}

/**
 * The files of the claims on one kind of work in one folder. `<dir>/.<work>.claim/` holds one name at most, that of the
 * holder. `<dir>/.<work>.holder.<id>/` is what that holder publishes from, with its note in it; it is made before the
 * claim is taken and removed after.
 */
export class ClaimFiles {
  readonly folder: string
  readonly #dir: string
  readonly #work: string

  constructor(dir: string, work: string) {
    this.#dir = dir
    this.#work = work
    this.folder = path.join(dir, `.${work}.claim`)
  }

  publishing(id: string): PublishingFolder {
    return new PublishingFolder(path.join(this.#dir, `.${this.#work}.holder.${id}`))
  }

  /** The publishing folder and the note of a process that wants the claim. */
  async prepare(id: string, note: string): Promise<void> {
    const own = this.publishing(id)
    await own.make()
    await writeFile(own.file(NOTE), note, { mode: 0o600, flag: 'wx' })
  }

  /** Takes a claim that nobody has. False when somebody has it. Of several that try, one succeeds. */
  async create(name: ClaimName): Promise<boolean> {
    const prepared = `${this.folder}.${name.id}`
    await mkdir(prepared, { mode: 0o700 })
    await using _prepared = removedAtEnd(prepared)
    await writeFile(path.join(prepared, nameText(name)), '', { mode: 0o600, flag: 'wx' })
    return await replaceEmptyFolder(prepared, this.folder)
  }

  /** Null when nobody has the claim. */
  async holder(): Promise<ClaimName | null> {
    const [name] = await askAgain(() => readdir(this.folder)).catch(absent([]))
    return name === undefined ? null : parseName(name)
  }

  /** Moves the claim from one holder to another. False when `from` has it no more. Of several that try, one succeeds. */
  async move(from: ClaimName, to: ClaimName): Promise<boolean> {
    return askAgain(() => rename(this.#fileOf(from), this.#fileOf(to))).then(() => true, absent(false))
  }

  /** Null when that holder has no note: it was fenced, or has let go. */
  async note(id: string): Promise<string | null> {
    const read = readPlain(this.publishing(id).file(NOTE), { maxBytes: MAX_NOTE })
    return read.then((text) => text.toString('utf8'), absent(null))
  }

  /**
   * Replaces the text of a note that is there, by one of the same length. False when it is not.
   * @throws as `PublishingFolder.isThere`.
   */
  async rewriteNote(id: string, text: string): Promise<boolean> {
    // Opened for writing: the server says whether the file is there, and nothing is made when it is not.
    const rewritten = askAgain(async () => {
      await using handle = await openPlain(this.publishing(id).file(NOTE), undefined, constants.O_WRONLY)
      await handle.write(text, 0)
      return true
    })
    if (await rewritten.catch(absent(false))) return true
    await this.publishing(id).isThere()
    return false
  }

  /** From here on the holder publishes nothing. May be done again, and by several at once. */
  async fence(id: string): Promise<void> {
    await takeAway(this.publishing(id).dir, path.join(this.#dir, `.${this.#work}.fenced.${id}`))
  }

  /** Gives the claim back, if this holder still has it. */
  async giveBack(name: ClaimName): Promise<void> {
    await askAgain(() => unlink(this.#fileOf(name))).catch(absent(undefined))
    await askAgain(() => removeEmptyFolder(this.folder)).catch(absent(true))
    await this.publishing(name.id).drop()
  }

  #fileOf(name: ClaimName): string {
    return path.join(this.folder, nameText(name))
  }
}

const nameText = ({ epoch, id }: ClaimName): string => (epoch === 0 ? id : `${epoch}.${id}`)

// Whatever lies there is somebody's claim; what has no epoch has no holder either, and is taken over.
function parseName(text: string): ClaimName {
  const [, epoch, id] = /^([1-9]\d{0,8})\.(.+)$/.exec(text) ?? []
  return epoch === undefined || id === undefined ? { epoch: 0, id: text } : { epoch: Number(epoch), id }
}

const absent =
  <T>(value: T) =>
  (error: unknown): T => {
    if (isErrno(error, 'ENOENT')) return value
    throw error
  }
