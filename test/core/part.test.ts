import fc from 'fast-check'
import { expect, it } from 'vitest'
import { parsePart, partText, shareOf, takes } from '../../src/core/part.ts'

it('is read from I/N, and nothing else is one', () => {
  expect(parsePart('0/4')).toEqual({ index: 0, count: 4 })
  expect(parsePart('0/1')).toEqual({ index: 0, count: 1 })
  expect(partText({ index: 3, count: 4 })).toBe('3/4')
  const none = [
    '4/4',
    '1/0',
    '0/0',
    '-1/4',
    '1',
    '1/',
    '/4',
    '1/4/2',
    'a/4',
    '1.5/4',
    ' 1/4',
    '1/4 ',
    '1e0/4',
    '',
    '0/10001',
  ]
  for (const text of none) expect(parsePart(text), text).toBeNull()
})

it('takes each input in one part, and knows how many', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.nat({ max: 40 }), (count, total) => {
      const parts = Array.from({ length: count }, (_, index) => ({ index, count }))
      const inputs = Array.from({ length: total }, (_, order) => order)
      for (const order of inputs) expect(parts.filter((part) => takes(part, order))).toHaveLength(1)
      for (const part of parts) expect(shareOf(part, total)).toBe(inputs.filter((order) => takes(part, order)).length)
      expect(shareOf(null, total)).toBe(total)
    }),
  )
})
