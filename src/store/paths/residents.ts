import type { Generation, SampleId } from '../../core/ids.ts'
import type { BlobKey } from '../blob-key.ts'
import type { Blobs } from '../blobs/blobs.ts'

import type { GenerationSource } from './generation-source.ts'

/**
 * Knows which generations of a sample are stored, without listing the blobs on every put.
 *
 * The index is built once, after the first epoch was claimed. It stays true as long as that epoch is the newest: another
 * producer has to hold a later one before it stores anything and, should one have been claimed meanwhile, to claim again
 * before its put counts as done. From then on the index is not believed any more, and the blobs of the one sample at hand are
 * listed.
 */
export class Residents {
  readonly #blobs: Blobs
  readonly #generations: GenerationSource
  #index: Promise<Map<SampleId, Set<Generation>>> | undefined
  #alone = true

  constructor(blobs: Blobs, generations: GenerationSource) {
    this.#blobs = blobs
    this.#generations = generations
  }

  /** Nobody else has put anything since this store was opened. */
  get alone(): boolean {
    return this.#alone
  }

  async of(sampleId: SampleId): Promise<readonly Generation[]> {
    if (!(await this.#generations.sole())) {
      // Whoever claimed the later epoch may believe an index. An epoch later still tells it that it is not alone; until
      // that is claimed, every call tries again.
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
