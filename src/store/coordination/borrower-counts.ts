import { type BlobKey, keyText } from '../blob-key.ts'

interface Entry {
  readonly key: BlobKey
  borrowers: number
  consumed: boolean
}

/** What is left after a drop: other borrowers; none; or none, and the sample is consumed. */
export type Dropped = 'held' | 'released' | 'consumed'

/** Counts this process's borrowers by sample and generation: a lease on an old generation never keeps a new one. */
export class BorrowerCounts {
  readonly #entries = new Map<string, Entry>()

  /** True for the first borrower. */
  take(key: BlobKey): boolean {
    const entry = this.#entries.get(keyText(key))
    if (entry === undefined) this.#entries.set(keyText(key), { key, borrowers: 1, consumed: false })
    else entry.borrowers += 1
    return entry === undefined
  }

  /** A sample is consumed if any of its borrowers consumed it, also an early one that could not free it. */
  drop(key: BlobKey, consumed: boolean): Dropped {
    const entry = this.#entries.get(keyText(key))
    if (entry === undefined) return 'held'
    entry.borrowers -= 1
    entry.consumed ||= consumed
    if (entry.borrowers > 0) return 'held'
    this.#entries.delete(keyText(key))
    return entry.consumed ? 'consumed' : 'released'
  }

  has(key: BlobKey): boolean {
    return this.#entries.has(keyText(key))
  }

  /** Forgets all borrowers and returns what they held. */
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
