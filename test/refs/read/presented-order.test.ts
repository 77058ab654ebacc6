import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SampleId } from '../../../src/core/ids.ts'
import type { SampleRef } from '../../../src/core/sample-ref.ts'
import { RefList } from '../../../src/refs/manifest.ts'
import { SegmentLines } from '../../../src/refs/read/segment-lines.ts'
import { exampleRef } from '../../support/refs.ts'

const withOrder = (index: number, order: number): SampleRef => exampleRef(index, { order })
const idsOf = (list: RefList): string[] => list.map(({ sampleId }) => sampleId)

/** The order as it is defined, without any of the program's shortcuts. */
function sorted(refs: readonly SampleRef[]): SampleRef[] {
  return refs.toSorted((a, b) => {
    const difference = (a.order ?? 0) - (b.order ?? 0)
    return difference === 0 ? (a.sampleId < b.sampleId ? -1 : 1) : difference
  })
}

/** Each list as the segment of a root of its own, as the parts of a manifest are. */
function joined(parts: readonly (readonly SampleRef[])[]): RefList {
  return new RefList(
    parts.map((refs, index) => {
      const { specs } = RefList.of(refs)
      const lines = refs.map(({ sampleId, generation, numTokens, bytes, digests, provenance, ...facts }) => {
        const { trainedTokens, truncated, sourceBytes = null, order } = facts
        const hashes = Object.values(digests).map((text) => text.slice(8))
        const about = [trainedTokens, Number(truncated), sourceBytes, ...(order === undefined ? [] : [order])]
        return `${JSON.stringify([sampleId, generation, 0, numTokens, bytes, hashes, provenance, about])}\n`
      })
      const segments = [new SegmentLines(`part-${index}`, Buffer.from(lines.join('')), refs.length)]
      return { root: { runId: 'run' as never, storeId: 'store-a' as never, specs, keys: [] }, segments }
    }),
  )
}

describe('the order of refs', () => {
  it('is that of their inputs, however they are spread over parts, and in whatever order they were published', () => {
    const orders = fc.array(fc.tuple(fc.nat({ max: 12 }), fc.nat({ max: 3 }), fc.integer()), { maxLength: 14 })
    let moved = 0
    fc.assert(
      // Places that lie far apart are sorted in another way than those that fill a data set.
      fc.property(orders, fc.constantFrom(1, 10 ** 12), (drawn, apart) => {
        const refs = drawn.map(([order], index) => withOrder(index, order * apart))
        // Shuffled by the third number, and cut into parts by the second one.
        const shuffled = refs.toSorted(
          (a, b) => (drawn[a.generation - 1]?.[2] ?? 0) - (drawn[b.generation - 1]?.[2] ?? 0),
        )
        const parts = [0, 1, 2, 3].map((part) => shuffled.filter((ref) => drawn[ref.generation - 1]?.[1] === part))
        const list = joined(parts.filter((part) => part.length > 0))
        const wanted = sorted(refs)
        moved += Number(idsOf(joined([shuffled])).join() !== shuffled.map(({ sampleId }) => sampleId).join())
        expect([...list]).toEqual(wanted)
        expect(list.checkAll()).toEqual(wanted.map(({ sampleId }) => sampleId))
        expect(wanted.map((_, index) => list.tokens(index))).toEqual(wanted.map(({ numTokens }) => numTokens))
        expect(list.contentDigest()).toBe(RefList.of(wanted).contentDigest())
        expect([...RefList.of(shuffled)]).toEqual(wanted)
      }),
      { numRuns: 400, seed: 1 },
    )
    expect(moved).toBeGreaterThan(100)
  })

  it('is that of publishing when a single ref does not say where its input stands', () => {
    const refs = [withOrder(0, 9), exampleRef(1), withOrder(2, 1)]
    expect([...RefList.of(refs)]).toEqual(refs)
    expect([...joined([[withOrder(0, 9)], [exampleRef(1)], [withOrder(2, 1)]])]).toEqual(refs)
  })

  it('is by code units among samples of one input', () => {
    const ids = ['run:c:turn-2', 'run:c:turn-10', 'run:c'].map((id) => SampleId.parse(id))
    const list = RefList.of(ids.map((sampleId, index) => exampleRef(index, { sampleId, order: 4 })))
    expect(idsOf(list)).toEqual(['run:c', 'run:c:turn-10', 'run:c:turn-2'])
  })

  it('is read from lines in any layout', () => {
    const line = (id: string, end: string) =>
      `["run:${id}",1,0,5,400,["0123456789abcdef","0123456789abcdef","0123456789abcdef","0123456789abcdef"],${end}]\n`
    const specs = RefList.of([exampleRef(0)]).specs
    const root = { runId: 'run' as never, storeId: 'store-a' as never, specs, keys: [['a', 'b', 'c']] }
    const list = (...ends: string[]) => {
      const text = ends.map((end, index) => line(`${index}`, end)).join('')
      return new RefList([{ root, segments: [new SegmentLines('f', Buffer.from(text), ends.length)] }])
    }
    // Spaces; facts that are unknown; a blank behind the number.
    expect(idsOf(list('{}, [ 3, 0, null, 7 ]', '{},[null,null,null,3]', '{},[3,1,9,5 ]'))).toEqual([
      'run:1',
      'run:2',
      'run:0',
    ])
    // Numbers at the end that are none: provenance of version 1, the size of a file.
    expect(idsOf(list('[0,7,2,1]', '[0,7,2,0]'))).toEqual(['run:0', 'run:1'])
    expect(idsOf(list('{},[3,0,7]', '{},[3,0,1]'))).toEqual(['run:0', 'run:1'])
  })

  it('that is no number is refused, and the line is named', () => {
    const text = `["run:0",1,0,5,400,["0123456789abcdef","0123456789abcdef","0123456789abcdef","0123456789abcdef"],{},[3,0,9,null]]\n`
    const root = {
      runId: 'run' as never,
      storeId: 'store-a' as never,
      specs: RefList.of([exampleRef(0)]).specs,
      keys: [],
    }
    const list = new RefList([{ root, segments: [new SegmentLines('f', Buffer.from(text), 1)] }])
    expect(() => list.at(0)).toThrow(
      expect.objectContaining({ code: 'REF_INVALID', details: expect.objectContaining({ file: 'f:1' }) }),
    )
  })
})
