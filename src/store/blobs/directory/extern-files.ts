import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, copyFile, link, lstat, stat } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../../../core/errors.ts'
import { openPlain } from '../../../core/files/plain-file.ts'
import { removedAtEnd } from '../../../core/files/removed-at-end.ts'
import { type BlobKey, shardOf } from '../../blob-key.ts'
import type { MemberFolder } from '../../coordination/coordination.ts'
import { publish } from '../../directory/durable.ts'
import { remoteCalls } from '../../directory/name-calls.ts'
import { requirePlainDirectory } from '../../directory/store-root.ts'
import type { ExternFile, LinkMode } from '../blobs.ts'
import { nameOf } from './object-names.ts'

/** Where the tensors of an object lie that are in another file: an argument of `object.write`. */
export interface ExternPlace {
  /** As the object names it: absolute, or below the store. */
  readonly file: string
  /** Where it can be read now. */
  readonly open: string
  readonly size: number
  readonly mtimeNs: string
  readonly offsets: Readonly<Record<string, number>>
}

// The errors of file systems that cannot link or clone this file at all.
const CANNOT = ['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS', 'ENOTTY']

/**
 * `extern/<2 hex>/<sampleId>.<generation>.bin`: files that hold tensors of objects, under names of the store. A file is
 * made before its object is published and removed after it, so that no object lacks its data.
 */
export class ExternFiles {
  readonly #dir: string
  readonly #folder: MemberFolder
  readonly #fsync: boolean

  constructor(dir: string, folder: MemberFolder, fsync: boolean) {
    this.#dir = dir
    this.#folder = folder
    this.#fsync = fsync
  }

  fileOf(key: BlobKey): string {
    return path.join(this.#dir, shardOf(key.sampleId), nameOf(key, 'bin'))
  }

  /** Keeps the file in the first allowed way that works. Null when none works. */
  async keep(key: BlobKey, given: ExternFile): Promise<{ readonly how: LinkMode; readonly place: ExternPlace } | null> {
    const { file, size, mtimeNs, offsets } = given
    for (const how of given.link) {
      if (how === 'reference') return { how, place: { file, open: file, size, mtimeNs, offsets } }
      const staged = this.#folder.file(`${randomUUID()}.bin`)
      await using _staged = removedAtEnd(staged)
      if (!(await (how === 'reflink' ? clones(file, staged) : links(file, staged)))) continue
      const own = how === 'reflink' ? await this.#finishClone(given, staged) : { size, mtimeNs }
      return { how, place: { ...(await this.adopt(key, staged)), ...own, offsets } }
    }
    return null
  }

  /** Publishes a staged file under the name that belongs to `key`. */
  async adopt(key: BlobKey, staged: string): Promise<{ readonly file: string; readonly open: string }> {
    const own = this.fileOf(key)
    await requirePlainDirectory(path.dirname(own), true)
    if (!(await publish(staged, own))) {
      const fix = 'put again'
      throw finding('STORE_BUSY', 'this generation is already taken', {
        file: own,
        found: 'a file of another put',
        fix,
      })
    }
    if (this.#fsync) await remoteCalls.syncFolder(path.dirname(own))
    return { file: path.posix.join('extern', path.basename(path.dirname(own)), path.basename(own)), open: own }
  }

  async remove(key: BlobKey): Promise<number> {
    return this.#folder.removeThrough(this.fileOf(key))
  }

  // A clone gets a new modification time. The cloned file must still be the one that was examined before.
  async #finishClone({ file, size, mtimeNs }: ExternFile, staged: string): Promise<{ size: number; mtimeNs: string }> {
    const source = await stat(file, { bigint: true })
    if (Number(source.size) !== size || String(source.mtimeNs) !== mtimeNs) {
      const fix = 'let nothing write to the feature files while they are ingested, and run again'
      throw finding('FEATURE_INVALID', 'the feature file changed', { file, found: 'another size or time', fix })
    }
    await chmod(staged, 0o600)
    await using handle = await openPlain(staged)
    if (this.#fsync) await handle.sync()
    const own = await handle.stat({ bigint: true })
    return { size: Number(own.size), mtimeNs: String(own.mtimeNs) }
  }
}

async function links(file: string, staged: string): Promise<boolean> {
  return works(async () => {
    await link(file, staged)
    // link() of a symbolic link gives another name of the link.
    if ((await lstat(staged)).isFile()) return
    throw finding('FEATURE_INVALID', 'the feature file changed', { file, found: 'no plain file any more' })
  })
}

const clones = (file: string, staged: string): Promise<boolean> =>
  works(() => copyFile(file, staged, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE))

async function works(task: () => Promise<void>): Promise<boolean> {
  try {
    await task()
    return true
  } catch (error) {
    if (isErrno(error, ...CANNOT)) return false
    throw error
  }
}
