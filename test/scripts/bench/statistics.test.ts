import { expect, it } from 'vitest'
import { median, milliseconds, quantile } from '../../../scripts/bench/statistics.ts'

it('medians and quantiles do not depend on the order, and nothing has none', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(quantile([4, 3, 2, 1], 0.25)).toBe(2)
  expect(median([])).toBeNaN()
  expect(milliseconds(0.00153)).toBe('1.53 ms')
})
