import { expect, it } from 'vitest'
import { Generation, SampleId } from '../../src/core/ids.ts'
import { keyOfSegment, keySegment, shardOf } from '../../src/store/blob-key.ts'

const key = (sampleId: string, generation: number) => ({
  sampleId: SampleId.parse(sampleId),
  generation: Generation.parse(generation),
})

it.each([key('a', 1), key('run:00000001.part.2', 1048577), key('a.7', 7)])('reads back the segment of %j', (each) => {
  expect(keyOfSegment(keySegment(each))).toEqual(each)
})

it.each(['', 'a', 'a.', '.5', 'a.0', 'a.07', 'a.1e3', 'a.-1', 'a.12345678901234567', '../x.1'])(
  'takes %j for no key',
  (segment) => expect(keyOfSegment(segment)).toBeNull(),
)

it('gives a sample the same one of 256 shards, however many are asked for in between', () => {
  const before = shardOf(SampleId.parse('first'))
  const shards = new Set(Array.from({ length: 3000 }, (_, index) => shardOf(SampleId.parse(`s${index}`))))
  expect(shards.size).toBe(256)
  for (const shard of shards) expect(shard).toMatch(/^[0-9a-f]{2}$/)
  expect(shardOf(SampleId.parse('first'))).toBe(before)
})
