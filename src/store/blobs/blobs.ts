import type { TensorSet } from '../../bridge/tensor-set.ts'
import type { SampleId } from '../../core/ids.ts'
import type { BlobKey } from '../blob-key.ts'
/** A stored blob and the bytes that it takes up. */
export interface StoredKey extends BlobKey {
  readonly bytes: number
}

/** Text that is stored with the tensors and comes back unchanged. */
export type BlobMetadata = Readonly<Record<string, string>>
/** xxh3-64 by tensor name. */
export type BlobDigests = Readonly<Record<string, string>>

export interface WrittenBlob {
  readonly digests: BlobDigests
  /** What the blob takes up in the store: its tensors and everything around them. */
  readonly bytes: number
}

export type LinkMode = 'reflink' | 'hardlink' | 'reference'

/** A file that holds some tensors of a set already, byte for byte and contiguous. */
export interface ExternFile {
  readonly file: string
  readonly size: number
  /** Decimal digits: a JavaScript number is not exact enough. */
  readonly mtimeNs: string
  /** By tensor name: the byte where it begins. */
  readonly offsets: Readonly<Record<string, number>>
  /** The allowed ways to keep the tensors in the file, best first. */
  readonly link: readonly LinkMode[]
  /** Copy the tensors when no allowed way works; otherwise the put fails. */
  readonly orCopy: boolean
  /** Called once, when the blob is published: how its tensors were kept, and why they were copied. */
  readonly onKept?: (how: LinkMode | 'copy', why?: string) => void
}

/** Rows of the first axis, `end` not included. */
export interface RowRange {
  readonly start: number
  readonly end: number
}

export interface BlobRequest {
  readonly key: BlobKey
  /** Null: all tensors. */
  readonly names: readonly string[] | null
  /** Of every named tensor. Null: all rows. */
  readonly rows: RowRange | null
  /** Compare what is read with the stored digests. */
  readonly verify: boolean
  /** The bytes of the blob's tensors according to the ref: a blob whose header claims more is damaged. */
  readonly maxBytes: number
}

export interface StoredBlob {
  /** The caller owns it. */
  readonly tensors: TensorSet
  readonly metadata: BlobMetadata
  /** Of every tensor of the blob, also of those that were not asked for. */
  readonly digests: BlobDigests
}

/**
 * Moves tensors into the store and out of it. Knows nothing of leases, generations, specs or who may see what: FeatureStore
 * owns those. A member publishes and removes through its right in the coordination (`PublishRight`, or a `MemberFolder`),
 * so that its blobs have no effect once it is fenced.
 */
export interface Blobs {
  /** All or nothing: a reader sees the whole blob or none of it. The key must be new. Throws once this member is fenced. */
  write(key: BlobKey, tensors: TensorSet, metadata: BlobMetadata, extern?: ExternFile): Promise<WrittenBlob>
  /** Copies, in the order asked: null for a blob that is not there, the error for a damaged one. Throws when no blob can be read. */
  read(wanted: readonly BlobRequest[]): Promise<readonly (StoredBlob | Error | null)[]>
  /**
   * Whether there is such a blob, damaged or not, as the place where blobs are kept says: a cache that still knows one
   * that was removed must not answer. Every get calls it, so it must be fast.
   */
  has(key: BlobKey): Promise<boolean>
  /** The bytes that became free; 0 for a blob that is not there. Throws once this member is fenced. */
  remove(key: BlobKey): Promise<number>
  /** All blobs, or those of one sample. May be slow: not for the path of a get, nor of a put by a sole producer. */
  list(sampleId?: SampleId): Promise<readonly StoredKey[]>
  /**
   * Moves a blob out of reach of every reader and keeps it, with the reason beside it; null where there is no room for one.
   * The bytes that `list` gave for it.
   */
  quarantine(key: BlobKey, reason: string | null): Promise<number>
  close(): Promise<void>
}
