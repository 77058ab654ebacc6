const WORD = 2 ** 32

/** splitmix32: turns correlated words (a seed, an epoch number) into uncorrelated ones. */
function splitmix32(state: number): number {
  let z = (state + 0x9e3779b9) >>> 0
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
  return (z ^ (z >>> 16)) >>> 0
}

/** xoshiro128**: 32 random bits a call, in integer arithmetic that every JavaScript engine does alike. */
function xoshiro128(seed: number, stream: number): () => number {
  const state = new Uint32Array(4)
  let word = splitmix32(seed % WORD) ^ splitmix32(Math.floor(seed / WORD) + 1) ^ splitmix32(stream + 0x51ed270b)
  for (let i = 0; i < 4; i += 1) {
    word = (word + 0x9e3779b9) >>> 0
    state[i] = splitmix32(word)
  }
  return () => {
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = state
    const turned = Math.imul(s1, 5)
    const result = Math.imul((turned << 7) | (turned >>> 25), 9) >>> 0
    const x3 = s3 ^ s1
    const x2 = s2 ^ s0
    state[1] = s1 ^ x2
    state[0] = s0 ^ x3
    state[2] = x2 ^ (s1 << 9)
    state[3] = (x3 << 11) | (x3 >>> 21)
    return result
  }
}

/**
 * The order of `count` samples in one epoch: Fisher-Yates over xoshiro128**, seeded by (seed, epoch) and by nothing else.
 * A run that resumes makes the same order again, so what this returns for given arguments may never change.
 */
export function shuffled(count: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index)
  const random = xoshiro128(seed, epoch)
  for (let last = count - 1; last > 0; last -= 1) {
    const other = below(random, last + 1)
    const swapped = order[last] ?? 0
    order[last] = order[other] ?? 0
    order[other] = swapped
  }
  return order
}

/** Uniform in [0, bound): words above the last whole multiple of `bound` are drawn again. */
function below(random: () => number, bound: number): number {
  const fair = WORD - (WORD % bound)
  for (;;) {
    const word = random()
    if (word < fair) return word % bound
  }
}
