import { expect, it } from 'vitest'
import { Generation, SampleId } from '../../../src/core/ids.ts'
import { BorrowerCounts } from '../../../src/store/coordination/borrower-counts.ts'

const key = (generation: number) => ({ sampleId: SampleId.parse('s'), generation: Generation.parse(generation) })

it('counts each generation of a sample by itself', () => {
  const book = new BorrowerCounts()
  for (const generation of [1, 1, 2]) book.take(key(generation))
  expect([book.drop(key(2), true), book.drop(key(1), true), book.drop(key(1), true)]).toEqual([
    'consumed',
    'held',
    'consumed',
  ])
  expect(book.size).toBe(0)
})

it('remembers that a sample was consumed until the last borrower has gone', () => {
  const book = new BorrowerCounts()
  for (let borrower = 0; borrower < 3; borrower++) book.take(key(1))
  expect([book.drop(key(1), false), book.drop(key(1), true), book.drop(key(1), false)]).toEqual([
    'held',
    'held',
    'consumed',
  ])
})

it('frees nothing for borrowers that consumed nothing, nor for those that never were', () => {
  const book = new BorrowerCounts()
  book.take(key(1))
  expect([book.drop(key(1), false), book.drop(key(1), true)]).toEqual(['released', 'held'])
})
