/** 96 bits of a digest. Two of a billion different contents share them with a chance of about 1 in 10^11. */
const WORDS = 3
const DIGITS = 8

/**
 * Which contents were seen, by their digests: 24 to 48 bytes each, where a Set of texts takes more than 100. A million
 * samples of a capture are to be compared with each other.
 */
export class ContentSet {
  /** Open addressing: a slot of zeros is free. */
  #slots: Uint32Array
  #size = 0

  constructor(capacity = 1024) {
    this.#slots = new Uint32Array(capacity * WORDS)
  }

  get size(): number {
    return this.#size
  }

  /** `digest`: hex, 24 digits or more. False if it is in the set already. */
  add(digest: string): boolean {
    const words = wordsOf(digest)
    const at = find(this.#slots, words)
    if (!isFree(this.#slots, at)) return false
    this.#slots.set(words, at)
    this.#size += 1
    if (2 * WORDS * this.#size > this.#slots.length) this.#grow()
    return true
  }

  #grow(): void {
    const larger = new Uint32Array(2 * this.#slots.length)
    for (let at = 0; at < this.#slots.length; at += WORDS) {
      if (isFree(this.#slots, at)) continue
      const words = this.#slots.subarray(at, at + WORDS)
      larger.set(words, find(larger, words))
    }
    this.#slots = larger
  }
}

function wordsOf(digest: string): Uint32Array {
  const words = Uint32Array.from({ length: WORDS }, (_, word) =>
    Number.parseInt(digest.slice(word * DIGITS, (word + 1) * DIGITS), 16),
  )
  // Zeros mark a free slot.
  if (words.every((word) => word === 0)) words[0] = 1
  return words
}

/** Where `words` stand, or the free slot where they belong. */
function find(slots: Uint32Array, words: Uint32Array): number {
  const count = slots.length / WORDS
  for (let slot = (words[0] ?? 0) % count; ; slot = (slot + 1) % count) {
    const at = slot * WORDS
    if (isFree(slots, at) || words.every((word, offset) => slots[at + offset] === word)) return at
  }
}

const isFree = (slots: Uint32Array, at: number): boolean =>
  slots[at] === 0 && slots[at + 1] === 0 && slots[at + 2] === 0
