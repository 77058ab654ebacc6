import type { Refs } from './sample-reader.ts'

export interface HeldOutOptions {
  /** Of the samples; 1 takes all that `limit` allows. At least one sample is taken. */
  readonly share: number
  readonly limit: number | null
  readonly seed: number
}

/**
 * Which samples of a set are kept for validation, ascending. It depends on the seed and on the sample ids and on nothing
 * else: not on their order, nor on who asks. So a set that grows keeps most of its choice. A run that resumes chooses
 * again: what this returns for given arguments may never change.
 */
export function heldOut(refs: Refs, { share, limit, seed }: HeldOutOptions): readonly number[] {
  const wanted = Math.min(Math.max(1, Math.round(share * refs.length)), limit ?? refs.length, refs.length)
  const keys = Float64Array.from({ length: refs.length }, (_, index) => keyOf(refs.at(index)?.sampleId ?? '', seed))
  const bound = Float64Array.from(keys).sort()[wanted - 1]
  if (bound === undefined) return []
  const chosen: number[] = []
  for (const [index, key] of keys.entries()) if (key <= bound && chosen.length < wanted) chosen.push(index)
  return chosen
}

/** 53 bits of a name, alike on every machine (cyrb53: two multiplicative hashes, mixed as murmur3 does). */
function keyOf(name: string, seed: number): number {
  let [high, low] = [0xdeadbeef ^ seed, 0x41c6ce57 ^ Math.floor(seed / 2 ** 32)]
  for (let at = 0; at < name.length; at += 1) {
    const unit = name.charCodeAt(at)
    high = Math.imul(high ^ unit, 2_654_435_761)
    low = Math.imul(low ^ unit, 1_597_334_677)
  }
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909)
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909)
  return 2 ** 32 * (low & 0x1f_ffff) + (high >>> 0)
}

/** Some of a set of refs, under numbers of their own. */
export class SomeRefs implements Refs {
  readonly #refs: Refs
  readonly #indices: readonly number[]

  constructor(refs: Refs, indices: readonly number[]) {
    this.#refs = refs
    this.#indices = indices
  }

  get length(): number {
    return this.#indices.length
  }

  at(index: number): ReturnType<Refs['at']> {
    const at = this.#indices[index]
    return at === undefined ? undefined : this.#refs.at(at)
  }
}
