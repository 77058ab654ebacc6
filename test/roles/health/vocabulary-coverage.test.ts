import { expect, it } from 'vitest'
import type { TokenCount } from '../../../src/refs/manifest.ts'
import { countsText } from '../../../src/refs/token-counts-file.ts'
import { vocabularyCoverage } from '../../../src/roles/health/vocabulary-coverage.ts'

/** The counts of a stream of tokens, most frequent first, as a manifest lists them. */
function listed(stream: readonly number[]): TokenCount[] {
  const counts = new Map<number, number>()
  for (const token of stream) counts.set(token, (counts.get(token) ?? 0) + 1)
  const { text } = countsText([...counts])
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}

it('is the share of trained tokens that are among the most frequent ones, counted one by one', () => {
  const vocabSize = 10_000
  // Zipf's law, as language has it: rank r about 1/r times.
  let state = 7
  const next = () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
  const stream = Array.from({ length: 60_000 }, () => Math.floor(vocabSize ** next()))
  const counts = listed(stream)
  const vocabulary = vocabularyCoverage(counts, vocabSize, 3000)
  expect(vocabulary?.trained).toBe(stream.length)
  expect(vocabulary?.distinct).toBe(new Set(stream).size)
  expect(vocabulary?.coverage.map(({ tokens }) => tokens)).toEqual([1024, 2048, 3000, 4096, 8192, 10_000])
  for (const { tokens, share } of vocabulary?.coverage ?? []) {
    const kept = new Set(counts.slice(0, tokens).map(([token]) => token))
    expect(share).toBe(stream.filter((token) => kept.has(token)).length / stream.length)
  }
  expect(vocabulary?.coverage.at(-1)?.share).toBe(1)
})

it('has one size for a small vocabulary, and none where nothing is trained', () => {
  expect(vocabularyCoverage([[3, 2]], 320, 32_000)?.coverage).toEqual([{ tokens: 320, share: 1 }])
  expect(vocabularyCoverage([[3, 2]], 2048)?.coverage.map(({ tokens }) => tokens)).toEqual([1024, 2048])
  expect(vocabularyCoverage([], 320)).toBeNull()
})
