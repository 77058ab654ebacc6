import type { EncodedSample } from './encoded-conversations.ts'

/**
 * Encoded samples that wait for the target, so that samples of about one length share a batch and little of it is
 * padding. Each batch takes the sample that has waited longest: none waits for others of its length.
 */
export class BatchPool {
  readonly #budget: number
  readonly #batches: number
  #taken = 0
  /** In the order in which they came. */
  #waiting: EncodedSample[] = []
  #tokens = 0

  /**
   * `budget`: the most padded tokens of a batch. `batches`: of how many full batches the pool holds the tokens. At first
   * it holds fewer: a device that waits is worse than padding.
   */
  constructor(budget: number, batches: number) {
    this.#budget = budget
    this.#batches = batches
  }

  get isFull(): boolean {
    return this.#tokens >= this.#budget * Math.min(this.#batches, 2 + 2 * this.#taken)
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  add(sample: EncodedSample): void {
    this.#waiting.push(sample)
    this.#tokens += sample.about.numTokens
  }

  /** The next batch, in the order in which its samples came. A sample that is longer than the budget is a batch of its own. */
  take(): EncodedSample[] {
    const [oldest] = this.#waiting
    if (oldest === undefined) return []
    this.#taken += 1
    const batch = new Set(nearest(this.#waiting, oldest, this.#budget))
    const taken = this.#waiting.filter((sample) => batch.has(sample))
    this.#waiting = this.#waiting.filter((sample) => !batch.has(sample))
    this.#tokens -= taken.reduce((sum, { about }) => sum + about.numTokens, 0)
    return taken
  }

  /** Everything that still waits; the pool is empty then. */
  takeAll(): readonly EncodedSample[] {
    const all = this.#waiting
    this.#waiting = []
    this.#tokens = 0
    return all
  }
}

/** `sample` and as many of `waiting` as fit in a batch of `budget` padded tokens, those of the nearest lengths. */
function nearest(waiting: readonly EncodedSample[], sample: EncodedSample, budget: number): readonly EncodedSample[] {
  const sorted = [...waiting].sort((a, b) => a.about.numTokens - b.about.numTokens)
  const length = (index: number) => sorted[index]?.about.numTokens
  let first = sorted.indexOf(sample)
  let last = first
  for (;;) {
    const size = last - first + 2
    const shorter = length(first - 1)
    const longer = length(last + 1)
    const own = sample.about.numTokens
    const canShorter = shorter !== undefined && (length(last) ?? own) * size <= budget
    const canLonger = longer !== undefined && longer * size <= budget
    if (!canShorter && !canLonger) return sorted.slice(first, last + 1)
    if (canShorter && (!canLonger || own - shorter <= longer - own)) first -= 1
    else last += 1
  }
}
