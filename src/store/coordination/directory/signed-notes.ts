import { lstat, rm } from 'node:fs/promises'
import { isErrno } from '../../../core/errors.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import type { DirectoryNotes } from './directory-notes.ts'
import type { StagingFolder } from './staging-folder.ts'

/** How many names one file gets. GlusterFS on ext4 refuses the 47th, or an earlier one if names are long, with ENOSPC. */
const NAMES = 32

/** A file with fewer names has reached no limit. On a full disk each further file would take the room that others need. */
const FEW_NAMES = 8

/** A file whose other names are notes. */
interface Source {
  readonly file: string
  readonly made: Promise<void>
  /** How many calls have asked for a name of it. */
  names: number
  /** Calls that are giving it a name now. */
  users: number
}

/** Notes of one text: further names of a file in a member's own folder. So most of them cost one call of the file system. */
export class SignedNotes {
  readonly #notes: DirectoryNotes
  readonly #folder: StagingFolder
  readonly #name: string
  readonly #text: string
  #sources = 0
  #source: Source | undefined

  /** `file`: what the files are called in the folder; a number follows. */
  constructor(notes: DirectoryNotes, folder: StagingFolder, file: string, text: string) {
    this.#notes = notes
    this.#folder = folder
    this.#name = file
    this.#text = text
  }

  /** False when something else has the name; true when it is this note already. */
  async link(name: string): Promise<boolean> {
    for (;;) {
      // Made late: most members sign nothing, and on a full disk each file counts.
      this.#source ??= this.#newSource()
      const source = this.#source
      try {
        return await this.#linkTo(source, name)
      } catch (error) {
        if (!(await hasAllNames(source, error)) || !(await this.#replace(source))) throw error
      }
    }
  }

  async #linkTo(source: Source, name: string): Promise<boolean> {
    source.names += 1
    source.users += 1
    if (source.names === NAMES) this.#retire(source)
    try {
      await source.made
      return await this.#notes.link(name, source.file)
    } finally {
      source.users -= 1
      await this.#dropUnused(source)
    }
  }

  /** False where there is no room for another file either: the disk is full. */
  async #replace(source: Source): Promise<boolean> {
    if (this.#source !== source) return true
    const fresh = this.#newSource()
    const isMade = await fresh.made.then(
      () => true,
      () => false,
    )
    if (isMade && this.#source === source) this.#source = fresh
    for (const each of [source, fresh]) await this.#dropUnused(each)
    return isMade
  }

  // What cannot be removed goes with the folder.
  async #dropUnused(source: Source): Promise<void> {
    if (source !== this.#source && source.users === 0) await rm(source.file, { force: true }).catch(() => undefined)
  }

  #retire(source: Source): void {
    if (this.#source === source) this.#source = undefined
  }

  #newSource(): Source {
    const name = `${this.#name}-${this.#sources}`
    const file = this.#folder.file(name)
    this.#sources += 1
    const made = this.#folder.makeSynced(name, this.#text).catch((error: unknown) => {
      this.#retire(source)
      throw isErrno(error, 'ENOENT') ? error : storageError(error, file)
    })
    const source = { file, made, names: 0, users: 0 }
    return source
  }
}

/** Whether the file may have all the names that it can have: how many depends on their length, too. */
async function hasAllNames({ file }: Source, error: unknown): Promise<boolean> {
  if (!(error instanceof Error) || !isErrno(error.cause, 'ENOSPC', 'EDQUOT', 'EMLINK')) return false
  const info = await lstat(file).catch(() => null)
  return info !== null && info.nlink > FEW_NAMES
}
