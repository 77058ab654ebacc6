import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { RunId, StoreId } from '../../src/core/ids.ts'
import {
  ManifestWriter,
  readManifestRoot,
  readRefManifest,
  readTokenCounts,
  recordFailure,
  writeRefManifest,
} from '../../src/refs/manifest.ts'
import { published, refs, work } from '../support/manifests.ts'
import { exampleContract, exampleRef } from '../support/refs.ts'

async function edit(file: string, change: (text: string) => string): Promise<void> {
  await writeFile(file, change(await readFile(file, 'utf8')))
}

describe('a manifest', () => {
  it('comes back as it was published, in order, with its contract', async () => {
    const dir = await published()
    const manifest = await readRefManifest({ dir, storeId: StoreId.parse('store-a') })
    expect([...manifest.refs]).toEqual(refs)
    expect(manifest.contract).toEqual(exampleContract)
    expect(manifest.runId).toBe('run')
    expect(manifest.sha256).toMatch(/^[0-9a-f]{64}$/)
  })

  it('is a folder of immutable segments and one root, and of nothing else', async () => {
    const dir = await published()
    expect((await readdir(dir)).sort()).toEqual([
      'manifest.json',
      'segment-000000.ndjson',
      'segment-000001.ndjson',
      'token-counts.ndjson',
    ])
    const root = JSON.parse(await readFile(path.join(dir, 'manifest.json'), 'utf8'))
    expect(root).toMatchObject({ schema_version: 3, store_id: 'store-a', state: 'complete', error: null })
    expect(root.segments.map((entry: { count: number }) => entry.count)).toEqual([3, 2])
    // Refs of different lengths share one template.
    expect(root.specs).toHaveLength(1)
  })

  it('orders token counts by count, then id', async () => {
    const { countsFiles } = await readRefManifest({ dir: await published() })
    expect(await readFile(countsFiles[0] ?? '', 'utf8')).toBe('[3,9]\n[1,2]\n[7,2]\n')
    expect(await readTokenCounts(countsFiles)).toEqual([
      [3, 9],
      [1, 2],
      [7, 2],
    ])
  })

  it('can be written in one go, and again without effect', async () => {
    const given = { ...(await work()), refs, counts: [[1, 1] as const] }
    await writeRefManifest(given)
    const first = await readRefManifest({ dir: given.dir })
    expect([...first.refs]).toEqual(refs)
    given.clock.advance(1000)
    await writeRefManifest(given)
    expect((await readRefManifest({ dir: given.dir })).sha256).toBe(first.sha256)
  })
})

describe('a manifest that cannot be trusted', () => {
  it.each([
    [
      'a segment with another byte',
      'segment-000001.ndjson',
      (text: string) => text.replace('data_4', 'data_5'),
      'sha256',
    ],
    ['a segment that was cut', 'segment-000000.ndjson', (text: string) => text.slice(0, -9), 'bytes'],
    ['other token counts', 'token-counts.ndjson', (text: string) => text.replace('9', '8'), 'sha256'],
    ['another width in the root', 'manifest.json', (text: string) => text.replace('e": 8', 'e": 9'), 'sum'],
    [
      'another count in the root, its sum taken out',
      'manifest.json',
      (text: string) => text.replace('"count": 2', '"count": 1').replace(/,\n "sum": "[^"]*"/, ''),
      'count',
    ],
    [
      'a future version',
      'manifest.json',
      (text: string) => text.replace('_version": 3', '_version": 4'),
      'schema_version',
    ],
    ['a root of something else', 'manifest.json', () => '{"refs":[]}', 'format'],
    ['a damaged root', 'manifest.json', (text: string) => text.replace('"bfloat16"', '"float8"'), 'contract.dtype'],
    ['a root beyond its schema', 'manifest.json', (text: string) => text.replace('"inputs"', '"outputs"'), 'inputs'],
    [
      'a path out of the folder',
      'manifest.json',
      (text: string) => text.replace('"segment-', '"../segment-'),
      'segments.0.file',
    ],
  ])('%s is refused, and file and field are named', async (_, name, change, field) => {
    const dir = await published()
    await edit(path.join(dir, name), change)
    const error = await readRefManifest({ dir }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'MANIFEST_INVALID', details: { field } })
    expect(error).toHaveProperty('details.file', expect.stringContaining(dir))
    expect(error).toHaveProperty('details.found')
  })

  it('says which versions it found and which it reads', async () => {
    const dir = await published()
    await edit(path.join(dir, 'manifest.json'), (text) => text.replace('_version": 3', '_version": 7'))
    await expect(readRefManifest({ dir })).rejects.toThrow('7; this program reads 1, 2, and 3')
  })

  it('is refused when it belongs to another store, both named', async () => {
    const dir = await published()
    const attempt = readRefManifest({ dir, storeId: StoreId.parse('store-b') })
    await expect(attempt).rejects.toThrow('store-a; the opened store is store-b')
    await expect(attempt).rejects.toMatchObject({ code: 'MANIFEST_INVALID' })
  })

  it('is refused while it is incomplete or not there at all', async () => {
    const given = await work()
    await expect(readRefManifest({ dir: given.dir })).rejects.toMatchObject({ code: 'MANIFEST_INVALID' })
    await ManifestWriter.open(given)
    await expect(readRefManifest({ dir: given.dir })).rejects.toThrow('not complete')
  })

  // The sums are right here: these come from a broken producer, not from a broken disk.
  it.each([
    ['text instead of a ref', () => 'tensor', 3, '(the whole line)'],
    ['a path as sample id', (line: string) => line.replace('run:00000002', '../x'), 3, '0'],
    ['a sample a second time', (line: string) => line.replace('run:00000002', 'run:00000001'), 3, 'sample id'],
    ['bytes that do not fit', (line: string) => line.replace(/,0,7,\d+,/, ',0,7,1,'), 3, 'features'],
    ['a template that is not there', (line: string) => line.replace(/,0,7,/, ',4,7,'), 3, 'features'],
    ['numbers in a row', (line: string) => line.replace('"data_2.ckpt"', `[${'1,'.repeat(99)}1]`), 3, '[6][1]'],
  ])('%s is REF_INVALID, and the line is named', async (_, change, line, field) => {
    const dir = await published()
    await editWithRightSums(dir, change)
    const { refs } = await readRefManifest({ dir })
    const error = await Promise.resolve()
      .then(() => refs.checkAll())
      .catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'REF_INVALID' })
    expect(JSON.stringify(error)).toContain(`segment-000000.ndjson:${line}`)
    expect(error).toHaveProperty('details.field', expect.stringContaining(field))
  })
})

/** Changes the third line of the first segment and makes the root agree. */
async function editWithRightSums(dir: string, change: (line: string) => string): Promise<void> {
  const { sha256 } = await import('../../src/refs/sha256.ts')
  const file = path.join(dir, 'segment-000000.ndjson')
  const lines = (await readFile(file, 'utf8')).split('\n')
  const text = lines.map((line, index) => (index === 2 ? change(line) : line)).join('\n')
  await writeFile(file, text)
  const root = JSON.parse(await readFile(path.join(dir, 'manifest.json'), 'utf8'))
  Object.assign(root.segments[0], { bytes: Buffer.byteLength(text), sha256: sha256(text) })
  delete root.sum
  await writeFile(path.join(dir, 'manifest.json'), JSON.stringify(root))
}

describe('an interrupted manifest', () => {
  it('goes on in new segments and knows what was published', async () => {
    const given = await work()
    const first = await ManifestWriter.open(given)
    for (const ref of refs.slice(0, 3)) first.append(ref)
    await first.flush()
    first.append(refs[3] ?? exampleRef(3)) // never flushed: the process died here

    const second = await ManifestWriter.open(given)
    expect([...second.published.keys()].map((id) => second.published.get(id))).toEqual(refs.slice(0, 3))
    for (const ref of refs.slice(3)) second.append(ref)
    await second.complete([])
    expect([...(await readRefManifest({ dir: given.dir })).refs]).toEqual(refs)
  })

  it('overwrites a segment that a crash left unlisted', async () => {
    const given = await work()
    await ManifestWriter.open(given)
    await writeFile(path.join(given.dir, 'segment-000000.ndjson'), 'left behind')
    const writer = await ManifestWriter.open(given)
    writer.append(exampleRef(0))
    await writer.complete([])
    expect([...(await readRefManifest({ dir: given.dir })).refs]).toEqual([exampleRef(0)])
  })

  it('goes on after a failure, from what was good', async () => {
    const given = await work()
    const first = await ManifestWriter.open(given)
    first.append(exampleRef(0))
    await first.flush()
    await recordFailure({ ...given, code: 'FEATURE_INVALID' })
    expect((await readManifestRoot(given.dir))?.root).toMatchObject({ state: 'failed', error: 'FEATURE_INVALID' })
    const second = await ManifestWriter.open(given)
    expect((await readManifestRoot(given.dir))?.root).toMatchObject({ state: 'open', error: null })
    expect([...second.published.keys()]).toEqual(['run:00000000'])
  })

  it('takes back a ref, so that the sample can be published anew', async () => {
    const given = await work()
    const writer = await ManifestWriter.open(given)
    for (const ref of refs) writer.append(ref)
    await writer.flush()
    const [lost, ...others] = refs
    const again = exampleRef(0, { generation: 99 as never })
    writer.withdraw(again.sampleId)
    writer.append(again)
    await writer.complete([])
    expect(lost?.generation).not.toBe(99)
    expect([...(await readRefManifest({ dir: given.dir })).refs]).toEqual([...others, again])
    expect(await readdir(given.dir)).not.toContain('segment-000000.ndjson')
  })

  it.each([
    ['run', { runId: RunId.parse('other') }, 'run_id', '"run"; this producer has "other"'],
    ['store', { storeId: StoreId.parse('store-b') }, 'store_id', '"store-a"; this producer has "store-b"'],
    ['set of inputs', { inputs: 'those' }, 'inputs', '"these"; this producer has "those"'],
    [
      'target',
      { contract: { ...exampleContract, targetHash: 'xxh3_64:ffffffffffffffff' } },
      'contract.target_hash',
      '"xxh3_64:0123456789abcdef"; this producer has "xxh3_64:ffffffffffffffff"',
    ],
    [
      'layer choice',
      { contract: { ...exampleContract, auxLayers: [1, 3, 5] } },
      'contract.aux_layers',
      '[1,3,4]; this producer has [1,3,5]',
    ],
  ])('of another %s is refused, with both named, and left as it was', async (_, change, field, found) => {
    const given = await work(await published())
    const before = await readFile(path.join(given.dir, 'manifest.json'), 'utf8')
    const attempt = ManifestWriter.open({ ...given, ...change })
    await expect(attempt).rejects.toMatchObject({ code: 'MANIFEST_INVALID', details: { field, found } })
    expect(await readFile(path.join(given.dir, 'manifest.json'), 'utf8')).toBe(before)
  })

  it('goes on from a target that is mounted elsewhere', async () => {
    const given = await work()
    await ManifestWriter.open(given)
    const contract = { ...exampleContract, target: '/mnt/tiny' }
    expect((await ManifestWriter.open({ ...given, contract })).isComplete).toBe(false)
  })

  it('is refused when what it lists is damaged', async () => {
    const given = await work()
    const writer = await ManifestWriter.open(given)
    writer.append(exampleRef(0))
    await writer.flush()
    await truncate(path.join(given.dir, 'segment-000000.ndjson'), 10)
    await expect(ManifestWriter.open(given)).rejects.toMatchObject({ code: 'MANIFEST_INVALID' })
  })
})
