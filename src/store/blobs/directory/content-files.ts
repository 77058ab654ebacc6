import { randomUUID } from 'node:crypto'
import { type FileHandle, link, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Python } from '../../../bridge/python.ts'
import type { TensorSet } from '../../../bridge/tensor-set.ts'
import { isErrno } from '../../../core/errors.ts'
import { openPlain } from '../../../core/files/plain-file.ts'
import { removedAtEnd } from '../../../core/files/removed-at-end.ts'
import type { BlobKey } from '../../blob-key.ts'
import type { MemberFolder } from '../../coordination/coordination.ts'
import { publish } from '../../directory/durable.ts'
import { expectOwnFolder } from '../../directory/name-calls.ts'
import { requirePlainDirectory } from '../../directory/store-root.ts'
import { type FileBeside, partOf } from '../inventory.ts'
import type { ExternFiles, ExternPlace } from './extern-files.ts'
import { inodeOrNull } from './folder-entries.ts'

const MARK = /^draftbridge\.content\.1 ([0-9a-f]{32})\n/
const MARK_BYTES = 64
// Another process may remove or replace the file between two steps. Losing that race this often means a broken disk.
const TRIES = 5

export interface Shared {
  readonly place: ExternPlace
  /** The bytes that the store grew by. */
  readonly bytes: number
}

interface Wanted {
  readonly key: BlobKey
  readonly handle: number
  readonly name: string
  readonly file: string
  readonly offsets: Readonly<Record<string, number>>
}

/**
 * `content/<2 hex>/<name>.bin`: tensors that several samples have in common. Each sample has its own hard link in
 * `extern`, so the file system counts the users, and no process can remove the data of another.
 */
export class ContentFiles {
  readonly #dir: string
  readonly #python: Python
  readonly #folder: MemberFolder
  readonly #extern: ExternFiles
  readonly #fsync: boolean

  constructor(dir: string, given: { python: Python; folder: MemberFolder; extern: ExternFiles; fsync: boolean }) {
    this.#dir = dir
    this.#python = given.python
    this.#folder = given.folder
    this.#extern = given.extern
    this.#fsync = given.fsync
  }

  /** Null when the tensors cannot be shared: the name is taken by other content, or the file has too many links. */
  async share(key: BlobKey, tensors: TensorSet): Promise<Shared | null> {
    const { handle } = tensors
    const { name, offsets } = await this.#python.call('content.name', { handle })
    const file = this.#fileOf(name)
    await requirePlainDirectory(path.dirname(file), true)
    const wanted = { key, handle, name, file, offsets }
    for (let left = TRIES; left > 0; left -= 1) {
      const { same } = await this.#python.call('content.compare', { handle, path: file, name })
      if (same === false) return null
      const shared = same === null ? await this.#begin(wanted) : await this.#join(wanted)
      if (shared !== 'again') return shared
    }
    return null
  }

  /** Removes the sample's link, and the content with the last link. The bytes that became free. */
  async remove(key: BlobKey): Promise<number> {
    await using handle = await openOrNull(this.#extern.fileOf(key))
    if (handle === null) return 0
    const name = await nameIn(handle)
    const size = await this.#extern.remove(key)
    if (name === null) return size
    const { nlink, ino } = await handle.stat({ bigint: true })
    if (nlink === 0n) return size
    if (nlink > 1n) return 0
    const file = this.#fileOf(name)
    if ((await inodeOrNull(file)) !== ino) return 0
    const freed = await this.#folder.removeThrough(file)
    // If another put linked the content just before, its link is now the only one, and nothing is free.
    return (await handle.stat()).nlink === 0 ? freed : 0
  }

  /** What is attributed to the sample of its file: a share when others use it too. */
  async bytesOf(key: BlobKey): Promise<number> {
    return partOf(await fileBeside(this.#extern.fileOf(key)))
  }

  async #begin(wanted: Wanted): Promise<Shared | 'again'> {
    const { handle, name, file } = wanted
    const staged = this.#folder.file(`${randomUUID()}.bin`)
    await using _staged = removedAtEnd(staged)
    await this.#python.call('content.write', { handle, path: staged, name, fsync: this.#fsync })
    if (!(await publish(staged, file))) return 'again'
    const place = await this.#adopt(wanted, staged)
    return { place, bytes: place.size }
  }

  async #join(wanted: Wanted): Promise<Shared | null | 'again'> {
    const staged = this.#folder.file(`${randomUUID()}.bin`)
    try {
      await link(wanted.file, staged)
    } catch (error) {
      if (isErrno(error, 'EMLINK')) return null
      if (!isErrno(error, 'ENOENT')) throw error
      // Either the last user of the content is gone, or this member was fenced: then this throws.
      await expectOwnFolder(this.#folder.dir)
      return 'again'
    }
    await using _staged = removedAtEnd(staged)
    return { place: await this.#adopt(wanted, staged), bytes: 0 }
  }

  async #adopt({ key, offsets }: Wanted, staged: string): Promise<ExternPlace> {
    const { size, mtimeNs } = await stat(staged, { bigint: true })
    const own = await this.#extern.adopt(key, staged)
    return { ...own, size: Number(size), mtimeNs: String(mtimeNs), offsets }
  }

  #fileOf(name: string): string {
    return path.join(this.#dir, name.slice(0, 2), `${name}.bin`)
  }
}

/** The file in `extern` that belongs to a sample. Null when there is none. */
export async function fileBeside(file: string): Promise<FileBeside | null> {
  await using handle = await openOrNull(file)
  if (handle === null) return null
  const { size, nlink, ino } = await handle.stat({ bigint: true })
  // One link is the name in `content`.
  const shared = (await nameIn(handle)) === null ? null : { users: Math.max(1, Number(nlink) - 1), id: String(ino) }
  return { bytes: Number(size), shared }
}

/** The name of shared content; null for a user's own file. */
async function nameIn(handle: FileHandle): Promise<string | null> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(MARK_BYTES), 0, MARK_BYTES, 0)
  return MARK.exec(buffer.toString('latin1', 0, bytesRead))?.[1] ?? null
}

async function openOrNull(file: string): Promise<FileHandle | null> {
  try {
    return await openPlain(file)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw error
  }
}
