import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { ContentSet } from '../../../src/roles/produce/content-set.ts'

const digest = (number: number) => createHash('md5').update(String(number)).digest('hex')

it('knows what it was given, as a set of texts does, also while it grows', () => {
  const [set, oracle] = [new ContentSet(4), new Set<string>()]
  for (let step = 0; step < 20_000; step += 1) {
    const text = digest((step * 7919) % 12_345)
    expect(set.add(text)).toBe(!oracle.has(text))
    oracle.add(text)
  }
  expect(set.size).toBe(oracle.size)
})

it('tells digests apart that share their first, their second or their third part, and those that are zeros', () => {
  const set = new ContentSet()
  const parts = ['00000000', '00000001', 'ffffffff']
  const texts = parts.flatMap((a) => parts.flatMap((b) => parts.map((c) => `${a}${b}${c}00000000`)))
  // 0,0,0 is kept as 1,0,0: the price of a mark for a free slot.
  const distinct = texts.filter((text) => !text.startsWith('000000000000000000000000'))
  expect(distinct.map((text) => set.add(text))).toEqual(distinct.map(() => true))
  expect(texts.map((text) => set.add(text))).toEqual(texts.map(() => false))
})

it('keeps a million contents in less than 64 MiB', () => {
  const before = process.memoryUsage().arrayBuffers
  const set = new ContentSet()
  let state = 1
  const word = () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9
    return (state >>> 0).toString(16).padStart(8, '0')
  }
  for (let index = 0; index < 1_000_000; index += 1) set.add(`${word()}${word()}${index.toString(16).padStart(8, '0')}`)
  expect(set.size).toBe(1_000_000)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20)
})
