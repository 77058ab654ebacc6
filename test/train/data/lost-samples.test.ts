import { describe, expect, it } from 'vitest'
import { finding } from '../../../src/core/errors.ts'
import { LostSamples } from '../../../src/train/data/lost-samples.ts'

const damaged = finding('SAMPLE_CORRUPT', 'damaged', { file: 'sample-1' })
const losses = (share: number, known: { sample: number; since: number }[] = []) =>
  new LostSamples({ samples: 10, share, ahead: 2, known })

describe('a lost sample', () => {
  it('is asked for until the micro-steps that were begun before all ranks knew of it are done', () => {
    const lost = losses(0.5)
    lost.found(3, damaged)
    expect(lost.leftOut(3, 100)).toBe(false)
    lost.agree([3], 7)
    expect([9, 10].map((cursor) => lost.leftOut(3, cursor))).toEqual([false, true])
    expect(lost.agreed()).toEqual([{ sample: 3, since: 10 }])
  })

  it('that is met again in between keeps its place in the plan', () => {
    const lost = losses(0.5)
    lost.agree([3], 7)
    lost.agree([3, 1], 8)
    expect(lost.agreed()).toEqual([
      { sample: 1, since: 11 },
      { sample: 3, since: 10 },
    ])
  })

  it('of a checkpoint is left out as it was before', () => {
    const lost = losses(0.5, [{ sample: 4, since: 6 }])
    expect([5, 6].map((cursor) => lost.leftOut(4, cursor))).toEqual([false, true])
    expect(lost.agreed()).toEqual([{ sample: 4, since: 6 }])
  })
})

describe('the share that may be lost', () => {
  it('0: the first one ends the run with its own error', () => {
    expect(() => losses(0).found(3, damaged)).toThrow(damaged)
  })

  it('counts what this rank found, what all agreed on and what the checkpoint knows, each sample once', () => {
    const lost = losses(0.3, [{ sample: 0, since: 0 }])
    lost.found(1, damaged)
    lost.agree([1, 2], 5)
    lost.found(2, damaged)
    expect(() => lost.found(3, damaged)).toThrow(
      /4 of 10 samples are lost; the largest allowed share is 0.3; the last one: damaged/,
    )
  })

  it('is exceeded by what the ranks lost together, though none lost too much alone', () => {
    const lost = losses(0.1)
    lost.found(1, damaged)
    expect(() => lost.agree([1, 2], 5)).toThrow(/2 of 10 samples are lost/)
  })
})
