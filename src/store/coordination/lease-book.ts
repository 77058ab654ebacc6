import { type BlobKey, keyText } from '../blob-key.ts'

interface Entry {
  readonly key: BlobKey
  borrowers: number
  consumed: boolean
}

/** What a drop has left: others, nobody, or nobody and a sample that has done its work. */
export type Dropped = 'held' | 'released' | 'consumed'

/** Counts this process's borrowers per (sample, generation): a lease on an old generation never pins a new one. */
export class LeaseBook {
  readonly #entries = new Map<string, Entry>()

  /** True for the first borrower. */
  take(key: BlobKey): boolean {
    const entry = this.#entries.get(keyText(key))
    if (entry === undefined) this.#entries.set(keyText(key), { key, borrowers: 1, consumed: false })
    else entry.borrowers += 1
    return entry === undefined
  }

  /** `consumed` counts for all borrowers: an early one could not free the sample because others were still there. */
  drop(key: BlobKey, consumed: boolean): Dropped {
    const entry = this.#entries.get(keyText(key))
    if (entry === undefined) return 'held'
    entry.borrowers -= 1
    entry.consumed ||= consumed
    if (entry.borrowers > 0) return 'held'
    this.#entries.delete(keyText(key))
    return entry.consumed ? 'consumed' : 'released'
  }

  /** Forgets all borrowers. What they had. */
  clear(): readonly BlobKey[] {
    const keys = [...this.#entries.values()].map((entry) => entry.key)
    this.#entries.clear()
    return keys
  }

  /** Samples with at least one borrower. */
  get size(): number {
    return this.#entries.size
  }
}
