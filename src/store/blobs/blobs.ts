import type { TensorSet } from '../../bridge/tensor-set.ts'
import type { SampleId } from '../../core/ids.ts'
import type { BlobKey } from '../blob-key.ts'
/** A blob that is there, and the bytes it takes up. */
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

/** A file in which some tensors of a set lie already, byte for byte and without gaps. */
export interface ExternFile {
  readonly file: string
  readonly size: number
  /** Decimal digits: more than a number can hold exactly. */
  readonly mtimeNs: string
  /** Where the tensor of each name begins. */
  readonly offsets: Readonly<Record<string, number>>
  /** The ways to keep them there that are allowed, best first. */
  readonly link: readonly LinkMode[]
  /** False: when none works the put fails. */
  readonly orCopy: boolean
  /** Told once, when the blob is published, how its tensors were kept. */
  readonly kept?: (how: LinkMode | 'copy', why?: string) => void
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
  /** What the ref says of the blob's tensors, in bytes: a larger claim in the blob itself is not believed. */
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
  /** Copies, in the order asked: null when there is no such blob, the error when one is damaged. Throws only for all. */
  read(wanted: readonly BlobRequest[]): Promise<readonly (StoredBlob | Error | null)[]>
  /** Whether there is such a blob, whatever is wrong with it. Every get asks, so it must cost little. */
  has(key: BlobKey): Promise<boolean>
  /** The bytes that became free; 0 for a blob that is not there. Throws once this member is fenced. */
  remove(key: BlobKey): Promise<number>
  /** All blobs, or those of one sample. May be slow: not for the path of a get, nor of a put by a sole producer. */
  list(sampleId?: SampleId): Promise<readonly StoredKey[]>
  /** Takes a blob out of reach of every reader and keeps it, with the reason beside it. The bytes that it was listed with. */
  quarantine(key: BlobKey, reason: string): Promise<number>
  close(): Promise<void>
}
