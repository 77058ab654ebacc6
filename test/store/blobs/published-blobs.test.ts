import { expect, it } from 'vitest'
import { Generation, SampleId } from '../../../src/core/ids.ts'
import { PublishedBlobs } from '../../../src/store/blobs/published-blobs.ts'
import { MemoryCoordination } from '../../../src/store/coordination/memory/memory-coordination.ts'

const key = (sampleId: string, generation: number) => ({
  sampleId: SampleId.parse(sampleId),
  generation: Generation.parse(generation),
})

it('knows a blob from its publication to its withdrawal', async () => {
  const blobs = new PublishedBlobs(new MemoryCoordination())
  const a = key('a', 5)
  expect([await blobs.has(a), await blobs.publish(a, '12'), await blobs.has(a)]).toEqual([false, true, true])
  expect(await blobs.publish(a, '12')).toBe(false)
  expect([await blobs.withdraw(a), await blobs.withdraw(a), await blobs.has(a)]).toEqual([true, false, false])
})

it('lists all blobs, or those of one sample', async () => {
  const blobs = new PublishedBlobs(new MemoryCoordination())
  const keys = [key('a', 5), key('a', 6), key('a.b', 5), key('c', 7)]
  for (const each of keys) await blobs.publish(each, '1')
  expect(await blobs.list()).toHaveLength(4)
  expect(await blobs.list()).toEqual(expect.arrayContaining(keys))
  expect(await blobs.list(SampleId.parse('a'))).toEqual(keys.slice(0, 2))
  expect(await blobs.list(SampleId.parse('none'))).toEqual([])
})
