import { isErrno } from '../../../core/errors.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import type { DirectoryNotes } from './directory-notes.ts'
import type { StagingFolder } from './staging-folder.ts'

/** Notes of one text: further names of one file in a member's own folder. So each costs one call of the file system. */
export class SignedNotes {
  readonly #notes: DirectoryNotes
  readonly #folder: StagingFolder
  readonly #name: string
  readonly #text: string
  #made: Promise<void> | undefined

  /** `file`: what the file is called in the folder. */
  constructor(notes: DirectoryNotes, folder: StagingFolder, file: string, text: string) {
    this.#notes = notes
    this.#folder = folder
    this.#name = file
    this.#text = text
  }

  /** False when something else has the name; true when this member has made the note before. */
  async link(name: string): Promise<boolean> {
    try {
      // Made late: most members sign nothing, and on a full disk each file counts.
      this.#made ??= this.#make()
      await this.#made
      return await this.#notes.link(name, this.#file)
    } catch (error) {
      // A file may have 65,000 names on ext4.
      if (!isErrno(error, 'EMLINK')) throw error
      this.#made = this.#make()
      await this.#made
      return this.#notes.link(name, this.#file)
    }
  }

  get #file(): string {
    return this.#folder.file(this.#name)
  }

  async #make(): Promise<void> {
    try {
      await this.#folder.renew(this.#name, this.#text)
    } catch (error) {
      this.#made = undefined
      throw isErrno(error, 'ENOENT') ? error : storageError(error, this.#file)
    }
  }
}
