import path from 'node:path'
import type { Python } from '../../../bridge/python.ts'
import type { TensorSet } from '../../../bridge/tensor-set.ts'
import { finding } from '../../../core/errors.ts'
import type { BlobKey } from '../../blob-key.ts'
import type { MemberFolder } from '../../coordination/coordination.ts'
import type { ExternFile, LinkMode } from '../blobs.ts'
import { ContentFiles } from './content-files.ts'
import { ExternFiles, type ExternPlace } from './extern-files.ts'

/** Where the tensors of a put were stored. */
export interface Attached {
  /** Null: in the object. */
  readonly place: ExternPlace | null
  /** What they take up in the store beside the object. */
  readonly bytes: number
  readonly how: LinkMode | 'copy'
  readonly why?: string
}

export interface AttachmentOptions {
  readonly python: Python
  /** The directory of the store. */
  readonly root: string
  readonly folder: MemberFolder
  readonly fsync: boolean
  readonly dedup: boolean
  /** Every tensor must be in its (encrypted) object: outside of it, it could be read. */
  readonly sealed: boolean
}

/** Tensors that lie outside their object: in a user's file (referenced, linked or cloned), or shared with equal samples. */
export class Attachments {
  readonly #extern: ExternFiles
  readonly #content: ContentFiles
  readonly #dedup: boolean
  readonly #sealed: boolean

  constructor({ python, root, folder, fsync, dedup, sealed }: AttachmentOptions) {
    this.#extern = new ExternFiles(path.join(root, 'extern'), folder, fsync)
    this.#content = new ContentFiles(path.join(root, 'content'), { python, folder, extern: this.#extern, fsync })
    this.#dedup = dedup
    this.#sealed = sealed
  }

  /** Must be called before the object is published. */
  async attach(key: BlobKey, tensors: TensorSet, given: ExternFile | undefined): Promise<Attached> {
    if (this.#sealed) return { place: null, bytes: 0, how: 'copy', why: 'sealed store' }
    const kept = given === undefined ? null : await this.#extern.keep(key, given)
    if (kept !== null) {
      const bytes = kept.how === 'reference' ? 0 : kept.place.size
      return { place: kept.place, bytes, how: kept.how }
    }
    if (given !== undefined && !given.orCopy) throw cannotLink(given)
    const why = 'no link possible here'
    const shared = this.#dedup ? await this.#content.share(key, tensors) : null
    return { place: null, bytes: 0, ...shared, how: 'copy', why }
  }

  /** Must be called after the object was removed. The bytes that became free. */
  remove(key: BlobKey): Promise<number> {
    return this.#content.remove(key)
  }

  bytesOf(key: BlobKey): Promise<number> {
    return this.#content.bytesOf(key)
  }
}

function cannotLink({ file, link: [how = 'hardlink'] }: ExternFile): Error {
  const wanted = how === 'reflink' ? 'a clone that shares its blocks' : 'another name for it'
  return finding('CONFIG_INVALID', `the store cannot have ${wanted}`, {
    file,
    field: 'features.link',
    found: `${how}, which the file system of the store or the owner of the file does not allow`,
    fix: 'set it to auto, which copies where nothing else works, or to reference, which leaves the file where it is',
  })
}
