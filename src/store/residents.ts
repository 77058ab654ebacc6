import type { Generation, SampleId } from '../core/ids.ts'
import type { BlobKey, StoreBackend } from './backend.ts'
import type { GenerationSource } from './generation-source.ts'

/**
 * Knows which generations of a sample are stored, without asking the backend on every put.
 *
 * The index is built once, after the first epoch was claimed. It stays true as long as that epoch is the newest: a
 * second producer has to claim a later one before it stores anything. From then on the index is not believed any more,
 * and the backend is asked for the one sample at hand.
 */
export class Residents {
  readonly #backend: StoreBackend
  readonly #generations: GenerationSource
  #index: Promise<Map<SampleId, Set<Generation>>> | undefined
  #alone = true

  constructor(backend: StoreBackend, generations: GenerationSource) {
    this.#backend = backend
    this.#generations = generations
  }

  /** Nobody else has put anything since this store was opened. */
  get alone(): boolean {
    return this.#alone
  }

  async of(sampleId: SampleId): Promise<readonly Generation[]> {
    if (this.#alone && !(await this.#generations.sole())) {
      // Announced once: the other side then loses its own claim to be alone and stops believing its index too.
      this.#alone = false
      this.#index = undefined
      await this.#generations.announce().catch((error: unknown) => {
        this.#alone = true
        throw error
      })
    }
    if (!this.#alone) return (await this.#backend.list(sampleId)).map((key) => key.generation)
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
    for (const { sampleId, generation } of await this.#backend.list()) {
      index.set(sampleId, (index.get(sampleId) ?? new Set()).add(generation))
    }
    return index
  }
}
