import { expect, it } from 'vitest'
import { nearest } from '../../src/core/nearest.ts'

it.each([
  // One mistake in three letters, and one at least: a letter too many, too few, another one, two that changed places.
  ['ab', 'abc'],
  ['abcd', 'abc'],
  ['abx', 'abc'],
  ['trian', 'train'],
  ['abcdxx', 'abcdef'],
  ['EPOCHS', 'epochs'],
])('%s may mean %s', (word, meant) => {
  expect(nearest(word, ['zzzzzzzzz', meant])).toBe(meant)
})

it.each([
  ['axx', 'abc'],
  ['abxxx', 'abcde'],
  ['abcxxx', 'abcdef'],
])('%s does not mean %s', (word, other) => {
  expect(nearest(word, [other])).toBeUndefined()
})

it('of several the nearest is meant, and of equals the first', () => {
  expect(nearest('abcdex', ['abcdxy', 'abcdef'])).toBe('abcdef')
  expect(nearest('abcx', ['abcd', 'abce'])).toBe('abcd')
  expect(nearest('abc', [])).toBeUndefined()
})
