import type { Generation, SampleId } from '../../core/ids.ts'
import type { BlobKey } from '../blob-key.ts'
import type { Blobs } from '../blobs/blobs.ts'

import type { GenerationSource } from './generation-source.ts'

/**
 * Which generations of a sample are stored, without a listing on every put.
 *
 * The index is built once, after the first epoch was claimed. It is complete as long as that epoch is the newest, because
 * another producer claims a later epoch before it stores anything; if a still later one was claimed meanwhile, it claims
 * again before its put counts as done. Once there is a later epoch, the index is dropped and each put lists the blobs of
 * its one sample.
 */
export class StoredGenerations {
  readonly #blobs: Blobs
  readonly #generations: GenerationSource
  #index: Promise<Map<SampleId, Set<Generation>>> | undefined
  #alone = true

  constructor(blobs: Blobs, generations: GenerationSource) {
    this.#blobs = blobs
    this.#generations = generations
  }

  /** No other producer has put anything since this store was opened. */
  get alone(): boolean {
    return this.#alone
  }

  async of(sampleId: SampleId): Promise<readonly Generation[]> {
    if (!(await this.#generations.sole())) {
      // The producer with the later epoch may still rely on its index. Claiming an even later epoch tells it about this one;
      // until that succeeds, every call tries again.
      await this.#generations.announce()
      this.#alone = false
      this.#index = undefined
    }
    if (!this.#alone) return (await this.#blobs.list(sampleId)).map((key) => key.generation)
    this.#index ??= this.#build().catch((error: unknown) => {
      this.#index = undefined
      throw error
    })
    return [...((await this.#index).get(sampleId) ?? [])]
  }

  async added({ sampleId, generation }: BlobKey): Promise<void> {
    const index = await this.#index
    if (index === undefined) return
    index.set(sampleId, (index.get(sampleId) ?? new Set()).add(generation))
  }

  async removed({ sampleId, generation }: BlobKey): Promise<void> {
    const index = await this.#index
    const left = index?.get(sampleId)
    left?.delete(generation)
    if (left?.size === 0) index?.delete(sampleId)
  }

  async #build(): Promise<Map<SampleId, Set<Generation>>> {
    const index = new Map<SampleId, Set<Generation>>()
    for (const { sampleId, generation } of await this.#blobs.list()) {
      index.set(sampleId, (index.get(sampleId) ?? new Set()).add(generation))
    }
    return index
  }
}
