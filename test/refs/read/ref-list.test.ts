import { readdir } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { ManifestWriter, RefList, readManifestSoFar, readRefManifest } from '../../../src/refs/manifest.ts'
import { SegmentLines } from '../../../src/refs/read/segment-lines.ts'
import { published, refs, work } from '../../support/manifests.ts'
import { exampleRef } from '../../support/refs.ts'

describe('a list of refs', () => {
  it('answers for any ref, across segments', async () => {
    const list = (await readRefManifest({ dir: await published() })).refs
    expect(list).toHaveLength(refs.length)
    expect(list.at(4)).toEqual(refs[4])
    expect(list.map((ref) => ref.sampleId)).toEqual(refs.map((ref) => ref.sampleId))
    for (const [index, ref] of refs.entries()) expect(list.tokens(index)).toBe(ref.numTokens)
    expect(list.checkAll()).toEqual(refs.map((ref) => ref.sampleId))
    for (const index of [-1, 5, 0.5, Number.NaN]) {
      expect(() => list.at(index)).toThrow(RangeError)
      expect(() => list.tokens(index)).toThrow(RangeError)
    }
  })

  it('is the same list from memory', async () => {
    const { refs: stored } = await readRefManifest({ dir: await published() })
    const made = RefList.of(refs)
    expect([...made]).toEqual(refs)
    expect(made.contentDigest()).toBe(stored.contentDigest())
    expect([...RefList.of([])]).toEqual([])
  })

  it('has a digest of ids, order, tokens and bytes, and of nothing else', () => {
    const digest = (...list: Parameters<typeof RefList.of>[0]) => RefList.of(list).contentDigest()
    const [a, b] = [exampleRef(1), exampleRef(2)]
    expect(digest(a, b)).toBe(digest({ ...a, generation: 99 as never, provenance: {} }, b))
    const others = [digest(b, a), digest(a), digest(a, exampleRef(3)), digest(a, exampleRef(2, { n: 9 }))]
    expect(new Set([digest(a, b), ...others]).size).toBe(5)
    const other = { ...b, digests: { ...b.digests, loss_mask: 'xxh3_64:0000000000000000' } }
    expect(digest(a, other)).not.toBe(digest(a, b))
  })

  it('reads lines that another program wrote in its own way', () => {
    const made = RefList.of(refs)
    const shared = { runId: 'run' as never, storeId: 'store-a' as never, specs: made.specs }
    const lines = refs.map((ref) => {
      const { sampleId, generation, numTokens, bytes, digests, provenance, trainedTokens, truncated } = ref
      const facts = `[ ${trainedTokens}, ${Number(truncated)}, null ]`
      const hashes = Object.values(digests).map((text) => text.slice(8))
      return ` [ "${sampleId}" , ${generation}, 0, ${numTokens} , ${bytes}, ${JSON.stringify(hashes)}, ${JSON.stringify(provenance)}, ${facts} ]\n`
    })
    // The same bytes as ours but for an id that is spelled with an escape.
    const close = (line: string) => line.replaceAll(/ ([[\]",])|([[\]",]) /g, '$1$2').replace('"run:', '"\\u0072un:')
    for (const written of [lines, lines.map((line) => close(line.trim()).concat('\n'))]) {
      const segment = new SegmentLines('f', Buffer.from(written.join('')), refs.length)
      const list = new RefList([{ root: { ...shared, keys: [] }, segments: [segment] }])
      expect([...list]).toEqual(refs)
      expect(list.checkAll()).toEqual(refs.map(({ sampleId }) => sampleId))
      expect(list.tokens(3)).toBe(refs[3]?.numTokens)
      expect(list.contentDigest()).toBe(made.contentDigest())
    }
  })
})

it('a line that goes on in the next one is no ref', () => {
  const { specs } = RefList.of(refs)
  const bytes = Buffer.from('["run:1",1,0,5,120,["0123456789abcdef"\n"x"],{}]\n')
  const root = { runId: 'run' as never, storeId: 'store-a' as never, specs, keys: [] }
  const list = new RefList([{ root, segments: [new SegmentLines('f', bytes, 2)] }])
  for (const ask of [() => list.at(0), () => list.tokens(0), () => list.contentDigest()])
    expect(ask).toThrow(expect.objectContaining({ code: 'REF_INVALID' }))
})

describe('a manifest while it is written', () => {
  it('shows what is published so far, whatever its state', async () => {
    const given = await work()
    await using writer = await ManifestWriter.open(given)
    for (const [index, ref] of refs.entries()) {
      writer.append(ref)
      await writer.flush()
      const { root, refs: sofar } = await readManifestSoFar({ dir: given.dir })
      expect(root.state).toBe('open')
      expect([...sofar]).toEqual(refs.slice(0, index + 1))
    }
  })

  it('keeps few segments however often it is flushed, and removes what it has joined', async () => {
    const given = await work()
    await using writer = await ManifestWriter.open(given)
    const many = Array.from({ length: 200 }, (_, index) => exampleRef(index))
    for (const ref of many) {
      writer.append(ref)
      await writer.flush()
      expect(writer.segments).toBeLessThanOrEqual(9)
    }
    const files = (await readdir(given.dir)).filter((name) => name.startsWith('segment-'))
    expect(files).toHaveLength(writer.segments)
    await writer.complete([])
    expect([...(await readRefManifest({ dir: given.dir })).refs]).toEqual(many)
  })

  it('is read anew when segments were joined between the root and them', async () => {
    const [given, mac] = [await work(), `hmac_sha256:${'7'.repeat(64)}`]
    let between = async () => {}
    // A reader asks for the mac once it has the root, before it opens a segment.
    const key = {
      sign: async () => mac,
      verify: async () => {
        await between()
        return true
      },
    }
    await using writer = await ManifestWriter.open({ ...given, key })
    writer.append(exampleRef(0))
    await writer.flush()
    let joins = 0
    between = async () => {
      if (joins === 3) return
      joins += 1
      writer.append(exampleRef(joins))
      await writer.flush()
    }
    expect([...(await readManifestSoFar({ dir: given.dir, key })).refs]).toHaveLength(4)
    expect(joins).toBe(3)
  })
})
