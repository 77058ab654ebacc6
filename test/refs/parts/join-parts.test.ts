import { cp, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { StoreId } from '../../../src/core/ids.ts'
import {
  ManifestWriter,
  partFolder,
  readManifestSoFar,
  readRefManifest,
  readTokenCounts,
  recordFailure,
} from '../../../src/refs/manifest.ts'
import { newManifest, orderedRefs, partWork, writePart } from '../../support/parts.ts'

const refs = orderedRefs(7)

async function three(): Promise<string> {
  const dir = await newManifest()
  for (const index of [2, 0, 1]) await writePart(dir, index, 3, refs)
  return dir
}

describe('a manifest in parts', () => {
  it('is read as one: refs in the order of their inputs, counts summed', async () => {
    const dir = await three()
    const manifest = await readRefManifest({ dir })
    expect([...manifest.refs]).toEqual(refs)
    expect(manifest.refs.checkAll()).toEqual(refs.map(({ sampleId }) => sampleId))
    expect(await readTokenCounts(manifest.countsFiles)).toEqual([
      [0, 4],
      [1, 3],
      [2, 3],
      [7, 3],
    ])
    expect(manifest.countsFiles).toHaveLength(3)
  })

  it('has a sum that follows the root of every part', async () => {
    const [one, same, other] = [await three(), await three(), await three()]
    await recordFailure({ ...partWork(other, 0, 3), code: 'OUT_OF_MEMORY' })
    const sums = await Promise.all(
      [one, same, other].map((dir) => readRefManifest({ dir }).then((found) => found.sha256)),
    )
    expect(sums[0]).toBe(sums[1])
    // A part that is complete does not fail afterwards.
    expect(sums[2]).toBe(sums[0])
    const file = path.join(other, 'part-001', 'manifest.json')
    const { sum: _, ...root } = JSON.parse(await readFile(file, 'utf8'))
    await writeFile(file, JSON.stringify({ ...root, heartbeat: 5 }))
    expect((await readRefManifest({ dir: other })).sha256).not.toBe(sums[0])
  })

  it('is complete when all parts are, and says until then which are not', async () => {
    const dir = await newManifest()
    await writePart(dir, 1, 3, refs)
    const attempt = readRefManifest({ dir })
    await expect(attempt).rejects.toMatchObject({ code: 'MANIFEST_INVALID', details: { file: dir, field: 'state' } })
    await expect(attempt).rejects.toThrow('part-000 has not begun, part-002 has not begun')
    await using writer = await ManifestWriter.open(partWork(dir, 0, 3))
    await expect(readRefManifest({ dir })).rejects.toThrow('part-000 is open, part-002 has not begun')
    await recordFailure({ ...partWork(dir, 2, 3), code: 'OUT_OF_MEMORY' })
    await expect(readRefManifest({ dir })).rejects.toThrow('part-000 is open, part-002 has failed (OUT_OF_MEMORY)')
    const found = await readManifestSoFar({ dir })
    expect(found.root).toMatchObject({
      state: 'failed',
      error: 'OUT_OF_MEMORY',
      run_id: 'run',
      contract: { target: '/models/tiny' },
    })
    expect(found.parts).toEqual([
      { index: 0, state: 'open', error: null, samples: 0 },
      { index: 1, state: 'complete', error: null, samples: 2 },
      { index: 2, state: 'failed', error: 'OUT_OF_MEMORY', samples: 0 },
    ])
    expect(found.refs.map(({ order }) => order)).toEqual([1, 4])
    await writer.complete([])
  })

  it('may have a part without samples, and a single part may be read alone', async () => {
    const dir = await newManifest()
    for (const index of [0, 1, 2, 3]) await writePart(dir, index, 4, refs.slice(0, 3))
    expect([...(await readRefManifest({ dir })).refs]).toEqual(refs.slice(0, 3))
    const alone = await readManifestSoFar({ dir: partFolder(dir, 1) })
    expect([...alone.refs]).toEqual([refs[1]])
    expect([alone.parts, alone.root.part]).toEqual([null, { index: 1, count: 4 }])
  })

  it('with a sample in two parts is refused, and the second line is named', async () => {
    const dir = await newManifest()
    await writePart(dir, 0, 2, refs)
    // Of a producer that numbered its inputs in another way.
    await writePart(
      dir,
      1,
      2,
      refs.map((ref, index) => ({ ...ref, order: index + 1 })),
    )
    const { refs: joined } = await readRefManifest({ dir })
    expect(() => joined.checkAll()).toThrow(
      expect.objectContaining({
        code: 'REF_INVALID',
        details: expect.objectContaining({
          file: `${path.join(dir, 'part-001', 'segment-000000.ndjson')}:1`,
          found: 'run:00000000, a second time',
        }),
      }),
    )
  })

  it('of another store, of two runs, in two numbers of parts, or under another name is refused', async () => {
    const dir = await three()
    const other = readRefManifest({ dir, storeId: StoreId.parse('store-b') })
    await expect(other).rejects.toThrow('store-a; the opened store is store-b')
    const mixed = await newManifest()
    const alone = await newManifest()
    await writePart(alone, 1, 2, refs)
    await cp(dir, mixed, { recursive: true })
    await cp(path.join(alone, 'part-001'), path.join(mixed, 'part-001'), { recursive: true, force: true })
    await expect(readRefManifest({ dir: mixed })).rejects.toMatchObject({
      code: 'MANIFEST_INVALID',
      details: { field: 'part.count', file: path.join(mixed, 'part-001', 'manifest.json') },
    })
    const edited = path.join(dir, 'part-002', 'manifest.json')
    const root = JSON.parse(await readFile(edited, 'utf8'))
    for (const change of [
      { run_id: 'other' },
      { inputs: 'others' },
      { contract: { ...root.contract, dtype: 'float32' } },
    ]) {
      const { sum: _, ...changed } = { ...root, ...change }
      await writeFile(edited, JSON.stringify(changed))
      await expect(readManifestSoFar({ dir })).rejects.toMatchObject({
        code: 'MANIFEST_INVALID',
        details: { file: edited },
      })
    }
    const moved = await three()
    await rename(path.join(moved, 'part-000'), path.join(moved, 'part-005'))
    await expect(readManifestSoFar({ dir: moved })).rejects.toMatchObject({ details: { field: 'part.index' } })
  })

  it('that is complete may not be of two sets of conversations; while it is open, lines may be mended', async () => {
    const dir = await newManifest()
    for (const [index, sum] of ['a', 'b'].entries()) {
      await using writer = await ManifestWriter.open({
        ...partWork(dir, index, 2),
        inputs: `data.conversations=${sum}`,
      })
      await readManifestSoFar({ dir })
      await writer.complete([])
    }
    await expect(readManifestSoFar({ dir })).rejects.toMatchObject({
      code: 'MANIFEST_INVALID',
      details: { field: 'data.conversations', found: '"b"; part-000 has "a"' },
    })
    await using again = await ManifestWriter.open({
      ...partWork(dir, 0, 2),
      inputs: 'data.conversations=b',
      reopen: true,
    })
    await again.complete([])
    expect((await readRefManifest({ dir })).refs).toHaveLength(0)
    const changed = { ...partWork(dir, 0, 2), inputs: 'data.conversations=c', reopen: true }
    await expect(ManifestWriter.open(changed)).rejects.toMatchObject({ details: { field: 'data.conversations' } })
  })
})
