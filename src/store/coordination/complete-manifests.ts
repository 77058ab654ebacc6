import { createHash } from 'node:crypto'
import { lstat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { z } from 'zod'
import { isErrno } from '../../core/errors.ts'
import { storageError } from '../../core/files/storage-error.ts'
import type { Notes } from './notes.ts'

const FOLDER = 'manifests'

const Record = z.looseObject({ file: z.string().min(1), host: z.string() })
/** A complete manifest: its root, and the host on which that has this path. */
export type CompleteManifest = z.output<typeof Record>

/**
 * Which manifests of this store are complete: a note `manifests/<owner>` for each. A manifest is known by the path of
 * its root, because a folder that was removed and filled again is still the same user's; an object says in `owner` which
 * manifest it was put for. So who is about to replace an object learns with one read whose it is.
 */
export class CompleteManifests {
  readonly #notes: Notes

  constructor(notes: Notes) {
    this.#notes = notes
  }

  /** `file`: the absolute path of the manifest's root, links resolved. Doing it again does nothing. */
  async add(file: string): Promise<void> {
    const name = noteOf(ownerOf(file))
    if (await this.#notes.has(name)) return
    await this.#notes.create(name, JSON.stringify({ file, host: hostname() } satisfies CompleteManifest))
  }

  /** The manifest of this owner; null when it is not complete, or was removed since. */
  async find(owner: string): Promise<CompleteManifest | null> {
    const text = OWNER.test(owner) ? await this.#notes.read(noteOf(owner)) : null
    const found = text === null ? null : parsed(text)
    return found === null || (await isRemoved(found)) ? null : found
  }
}

const OWNER = /^[0-9a-f]{32}$/

/** How objects name the manifest that they were put for. */
export const ownerOf = (file: string): string => createHash('sha256').update(file).digest('hex').slice(0, 32)

const noteOf = (owner: string): string => `${FOLDER}/${owner}`

function parsed(text: string): CompleteManifest | null {
  try {
    return Record.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}

// A path says nothing on another host: there the folder may be mounted elsewhere, or not at all.
async function isRemoved({ file, host }: CompleteManifest): Promise<boolean> {
  try {
    await lstat(file)
    return false
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return host === hostname()
    throw storageError(error, file, 'the manifest of other samples of this run')
  }
}
