import type { TensorSet } from '../../bridge/tensor-set.ts'
import { CodedError } from '../../core/errors.ts'
import type { FeatureSpec } from '../../core/feature-spec.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { type BlobKey, keyText } from '../blob-key.ts'
import type { RowRange, StoredBlob } from '../blobs/blobs.ts'
import type { StoreParts } from '../store-parts.ts'
import { expectDigests, expectMetadata, expectSpecs, wantedSpecs } from './ref-checks.ts'

/** `once`: each generation the first time that this process reads it. */
export type Verify = 'always' | 'once' | 'never'

export interface GetOptions {
  /** Only these features, in this order. Default: all. */
  readonly names?: readonly string[]
  /** Only these rows of the first axis, of each of them. Default: all. */
  readonly rows?: RowRange
  /** Compare the read bytes with the digests of the ref. Default: the store's `verify` option. */
  readonly verify?: boolean
}

export interface Wanted {
  readonly ref: SampleRef
  readonly specs: readonly FeatureSpec[]
  readonly verify: boolean
}

const PUT_AGAIN = '\n  fix:   run the producer again: it makes only the missing samples'

/** Reads the tensors that refs name, and compares each object with its ref. */
export class ReadPath {
  readonly #parts: StoreParts
  readonly #verify: Verify
  readonly #verified = new Set<string>()

  constructor(parts: StoreParts, verify: Verify) {
    this.#parts = parts
    this.#verify = verify
  }

  /** What to read of a sample. Fails before anything is leased or read. */
  wanted(ref: SampleRef, options: GetOptions): Wanted {
    const specs = wantedSpecs(ref, options.names, options.rows)
    const verify = options.verify ?? (this.#verify === 'always' || (this.#verify === 'once' && !this.#knows(ref)))
    return { ref, specs, verify }
  }

  /** In the order asked: the tensors, which the caller owns; the error for a damaged object; null for a missing one. */
  async read(wanted: readonly Wanted[], options: GetOptions): Promise<readonly (TensorSet | Error | null)[]> {
    const rows = options.rows ?? null
    const blobs = await this.#parts.blobs.read(
      wanted.map(({ ref, specs, verify }) => {
        return { key: ref, names: specs.map((spec) => spec.name), rows, verify, maxBytes: ref.bytes }
      }),
    )
    return Promise.all(wanted.map((each, index) => this.#checked(each, blobs[index] ?? null, rows === null)))
  }

  /** Why a generation is not in the store: replaced, or not there at all. */
  async whyMissing({ sampleId, generation }: BlobKey): Promise<CodedError> {
    const { blobs, id } = this.#parts
    const stored = await blobs.list(sampleId)
    const current = Math.max(0, ...stored.map((key) => key.generation))
    const name = `${sampleId}@${generation}`
    if (current > generation) {
      const what = `${name} was replaced by @${current} in store ${id}${PUT_AGAIN}`
      return new CodedError('SAMPLE_STALE', what, { sampleId, generation, current })
    }
    const what = `${name} is not in store ${id}: never put, freed or aborted${PUT_AGAIN}`
    return new CodedError('SAMPLE_NOT_FOUND', what, { sampleId, generation })
  }

  async #checked(wanted: Wanted, blob: StoredBlob | Error | null, whole: boolean): Promise<TensorSet | Error | null> {
    const { ref, specs, verify } = wanted
    if (blob instanceof Error || blob === null) return blob
    try {
      expectMetadata(ref, blob.metadata)
      expectSpecs(ref, specs, blob.tensors.features)
      expectDigests(ref, blob)
    } catch (error) {
      await blob.tensors[Symbol.asyncDispose]()
      if (error instanceof Error) return error
      throw error
    }
    // Only a complete read verifies the object: a part does not check the rest.
    if (verify && whole && this.#verify === 'once' && specs.length === ref.features.length)
      this.#verified.add(keyText(ref))
    return blob.tensors
  }

  #knows(ref: SampleRef): boolean {
    return this.#verified.has(keyText(ref))
  }
}
