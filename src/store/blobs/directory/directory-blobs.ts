import { randomUUID } from 'node:crypto'
import { lstat, readdir, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { objectError } from '../../../bridge/envelope.ts'
import type { Python } from '../../../bridge/python.ts'
import { TensorSet } from '../../../bridge/tensor-set.ts'
import { finding, isErrno } from '../../../core/errors.ts'
import { removedAtEnd } from '../../../core/files/removed-at-end.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import type { SampleId } from '../../../core/ids.ts'
import type { StoreKey } from '../../auth/store-auth.ts'
import { type BlobKey, shardOf } from '../../blob-key.ts'
import type { MemberFolder } from '../../coordination/coordination.ts'
import { publish } from '../../directory/durable.ts'
import type { NameCalls } from '../../directory/name-calls.ts'
import { isPlainDirectory, requirePlainDirectory, type StoreRoot } from '../../directory/store-root.ts'
import type { BlobMetadata, BlobRequest, Blobs, ExternFile, StoredBlob, StoredKey, WrittenBlob } from '../blobs.ts'
import { type Attached, Attachments } from './attachments.ts'
import { keyOf, nameOf } from './object-names.ts'

/** `fsync`: a put that returned survives a power cut. `fast`: it survives the process only. */
export type Durability = 'fsync' | 'fast'

export interface DirectoryBlobsOptions {
  readonly python: Python
  readonly root: StoreRoot
  /** This member's folder in `staging`. Only files in it can be published, so that a fence is one rename of it. */
  readonly folder: MemberFolder
  readonly durability: Durability
  /** The key of the store, which the caller owns; null in a store without one. */
  readonly key: StoreKey | null
  /** Keep equal tensors of different samples once. */
  readonly dedup: boolean
}

/** Folders of the store that these blobs need, and those that they make when they first need them. */
export const BLOB_FOLDERS = { needed: ['objects', 'quarantine'], optional: ['extern', 'content'] } as const

/** Blobs as files, one per generation: a put is published by a single link, and a stale ref names a file that is gone. */
export class DirectoryBlobs implements Blobs {
  readonly #python: Python
  readonly #calls: NameCalls
  readonly #objects: string
  readonly #quarantine: string
  readonly #key: StoreKey | null
  readonly #fsync: boolean
  readonly #folder: MemberFolder
  readonly #attachments: Attachments

  constructor({ python, root, folder, durability, key, dedup }: DirectoryBlobsOptions) {
    this.#python = python
    this.#calls = root.calls
    this.#objects = path.join(root.dir, 'objects')
    this.#quarantine = path.join(root.dir, 'quarantine')
    this.#key = key
    this.#fsync = durability === 'fsync'
    this.#folder = folder
    const sealed = key?.mode === 'seal'
    this.#attachments = new Attachments({ python, root: root.dir, folder, fsync: this.#fsync, dedup, sealed })
  }

  async write(key: BlobKey, tensors: TensorSet, metadata: BlobMetadata, extern?: ExternFile): Promise<WrittenBlob> {
    const dir = this.#dirOf(key.sampleId)
    const staged = this.#folder.file(`${randomUUID()}.safetensors`)
    let attached: Attached | undefined
    try {
      await this.#expectPlain()
      await requirePlainDirectory(dir, true, this.#calls)
      attached = await this.#attachments.attach(key, tensors, extern)
      const written = await this.#python.call('object.write', {
        handle: tensors.handle,
        path: staged,
        metadata: { ...metadata },
        fsync: this.#fsync,
        key: this.#key?.handle ?? null,
        extern: attached.place === null ? null : { ...attached.place, offsets: { ...attached.place.offsets } },
      })
      await this.#publish(staged, path.join(dir, nameOf(key)))
      extern?.onKept?.(attached.how, attached.why)
      return { ...written, bytes: written.bytes + attached.bytes }
    } catch (error) {
      await rm(staged, { force: true }).catch(() => undefined)
      // If this fails too, a sweep removes what is left.
      if (attached !== undefined) await this.#attachments.remove(key).catch(() => undefined)
      throw storageError(error, staged)
    }
  }

  // Python checks that the directories are plain ones when it opens the object.
  async read(wanted: readonly BlobRequest[]): Promise<readonly (StoredBlob | Error | null)[]> {
    const requests = wanted.map(({ key, names, rows, verify, maxBytes }) => ({
      path: this.#fileOf(key),
      names: names === null ? null : [...names],
      rows: rows === null ? null : { ...rows },
      verify,
      maxBytes,
    }))
    const { results } = await this.#python.call('object.read', { requests, key: this.#key?.handle ?? null })
    return results.map((found) => {
      if (found === null) return null
      if ('error' in found) return objectError(found)
      return { tensors: new TensorSet(this.#python, found.set), metadata: found.metadata, digests: found.digests }
    })
  }

  // True for a planted link too: reading it fails.
  async has(key: BlobKey): Promise<boolean> {
    const file = this.#fileOf(key)
    try {
      return await this.#calls.holds(file, this.#folder.file(`${randomUUID()}.seen`))
    } catch (error) {
      throw storageError(error, file)
    }
  }

  async remove(key: BlobKey): Promise<number> {
    const file = this.#fileOf(key)
    try {
      await this.#expectPlain(path.dirname(file))
      return (await this.#folder.removeThrough(file)) + (await this.#attachments.remove(key))
    } catch (error) {
      throw storageError(error, file)
    }
  }

  async list(sampleId?: SampleId): Promise<readonly StoredKey[]> {
    const dirs = sampleId === undefined ? await this.#objectDirs() : [this.#dirOf(sampleId)]
    const found: StoredKey[] = []
    await this.#expectPlain(...dirs)
    for (const dir of dirs) {
      for (const name of await namesIn(dir)) {
        const key = keyOf(name)
        if (key === null || (sampleId !== undefined && key.sampleId !== sampleId)) continue
        const bytes = await sizeOf(path.join(dir, name))
        if (bytes !== null) found.push({ ...key, bytes: bytes + (await this.#attachments.bytesOf(key)) })
      }
    }
    return found
  }

  async quarantine(key: BlobKey, reason: string | null): Promise<number> {
    const file = this.#fileOf(key)
    const aside = path.join(this.#quarantine, nameOf(key))
    try {
      await this.#expectPlain(path.dirname(file), this.#quarantine)
      const { size } = await lstat(file)
      if (reason !== null) await this.#keepReason(reason, `${aside}.reason.json`)
      await rename(file, aside)
      return size
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return 0
      throw storageError(error, file)
    }
  }

  async close(): Promise<void> {}

  // Staged first: a write would follow a link that was planted under the name of the reason.
  async #keepReason(reason: string, file: string): Promise<void> {
    const staged = this.#folder.file(`${randomUUID()}.reason`)
    await using _staged = removedAtEnd(staged)
    await writeFile(staged, reasonText(reason), { mode: 0o600, flag: 'wx' })
    await rename(staged, file)
  }

  #fileOf(key: BlobKey): string {
    return path.join(this.#dirOf(key.sampleId), nameOf(key))
  }

  async #publish(staged: string, final: string): Promise<void> {
    if (!(await publish(staged, final, this.#calls))) {
      const fix = 'two producers claimed one epoch: check that the file system has exclusive mkdir, then put again'
      const found = 'a file that another producer made'
      throw finding('STORE_BUSY', 'this generation is already taken', { file: final, found, fix })
    }
    try {
      await Promise.all([unlink(staged), this.#fsync ? this.#calls.syncFolder(path.dirname(final)) : undefined])
    } catch (error) {
      // The put fails, so the object must not be found later.
      await rm(final, { force: true }).catch(() => undefined)
      throw error
    }
  }

  /**
   * Expects plain directories: a planted link would lead reads, writes and removals out of the store. Called before
   * every use, because anyone who can write to the mount can plant a link at any time.
   */
  async #expectPlain(...dirs: readonly string[]): Promise<void> {
    try {
      await Promise.all([this.#objects, ...dirs].map((dir) => isPlainDirectory(dir, this.#calls)))
    } catch (error) {
      throw storageError(error, dirs[0] ?? this.#objects)
    }
  }

  async #objectDirs(): Promise<readonly string[]> {
    return (await namesIn(this.#objects))
      .filter((name) => /^[0-9a-f]{2}$/.test(name))
      .map((name) => path.join(this.#objects, name))
  }

  #dirOf(sampleId: SampleId): string {
    return path.join(this.#objects, shardOf(sampleId))
  }
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw storageError(error, dir)
  }
}

async function sizeOf(file: string): Promise<number | null> {
  try {
    const info = await lstat(file)
    return info.isFile() ? info.size : null
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw storageError(error, file)
  }
}

/** `reason` may begin with an error code, as error messages do. */
function reasonText(reason: string): string {
  const [prefix = '', code = 'SAMPLE_CORRUPT'] = /^([A-Z_]+): /.exec(reason) ?? []
  const by = { host: hostname(), pid: process.pid }
  return `${JSON.stringify({ code, message: reason.slice(prefix.length), when: new Date().toISOString(), by }, null, 2)}\n`
}
