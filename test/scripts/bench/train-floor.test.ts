import { expect, it } from 'vitest'
import { DRAFT_SHAPES, floorTokensPerSecond, flopsPerToken } from '../../../scripts/bench/train-floor.ts'

it('the floor counts the operations that python/draftbridge/drafts/eagle3/flops.py counts', () => {
  const all = { length: 2048, live: 1 }
  // The figures of test/python/drafts/eagle3/test_flops.py for the same shape.
  expect(flopsPerToken({ ...DRAFT_SHAPES.qwen, draftVocabulary: 32000 }, all) / 1e9).toBeCloseTo(16.9, 2)
  expect(flopsPerToken(DRAFT_SHAPES.qwen, all) / 1e9).toBeCloseTo(14.49, 2)
  expect(flopsPerToken({ ...DRAFT_SHAPES.qwen, draftVocabulary: 32000 }, { length: 4096, live: 1 }) / 1e9).toBeCloseTo(
    17.26,
    2,
  )
  expect(floorTokensPerSecond(DRAFT_SHAPES.qwen, all, 790)).toBeCloseTo(54_520, -2)
})
