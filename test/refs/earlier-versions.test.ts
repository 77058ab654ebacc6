import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { ManifestWriter, readManifestRoot, readRefManifest } from '../../src/refs/manifest.ts'
import { sha256 } from '../../src/refs/sha256.ts'
import { published, refs, work } from '../support/manifests.ts'
import { exampleRef } from '../support/refs.ts'

/** Rewrites a manifest as schema version 1 has it: the facts stand in the provenance of each line. */
async function toVersion1(dir: string, state: 'complete' | 'open'): Promise<void> {
  const file = path.join(dir, 'manifest.json')
  const { sum: _, ...root } = JSON.parse(await readFile(file, 'utf8'))
  for (const entry of root.segments) {
    const segment = path.join(dir, entry.file)
    const lines = (await readFile(segment, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    const old = lines.map(([id, generation, template, n, bytes, hashes, [, from], [trained, cut]]) => {
      return [id, generation, template, n, bytes, hashes, [0, from, trained, cut === 1]]
    })
    const text = old.map((line) => `${JSON.stringify(line)}\n`).join('')
    await writeFile(segment, text)
    Object.assign(entry, { bytes: Buffer.byteLength(text), sha256: sha256(text) })
  }
  const ended = state === 'open' ? { state, token_counts: null } : {}
  const keys = [['from', 'lossTokens', 'truncated']]
  await writeFile(file, `${JSON.stringify({ ...root, schema_version: 1, provenance_keys: keys, ...ended })}\n`)
}

it('a complete manifest of schema version 1 gives the same refs', async () => {
  const dir = await published()
  await toVersion1(dir, 'complete')
  const manifest = await readRefManifest({ dir })
  expect([...manifest.refs]).toEqual(refs)
  expect(manifest.refs.checkAll()).toHaveLength(refs.length)
})

it('a manifest of schema version 2, whose lines have no order, gives its refs as they were published', async () => {
  const given = await work()
  const writer = await ManifestWriter.open(given)
  const backwards = refs.toReversed()
  for (const ref of backwards) writer.append(ref)
  await writer.complete([[1, 1]])
  const file = path.join(given.dir, 'manifest.json')
  const { sum: _, ...root } = JSON.parse(await readFile(file, 'utf8'))
  await writeFile(file, JSON.stringify({ ...root, schema_version: 2 }))
  const manifest = await readRefManifest({ dir: given.dir })
  expect([...manifest.refs]).toEqual(backwards)
  expect(manifest.refs.checkAll()).toEqual(backwards.map(({ sampleId }) => sampleId))
})

it('an open manifest of schema version 1 is continued as version 3, with the refs that it has', async () => {
  const dir = await published()
  await toVersion1(dir, 'open')
  const writer = await ManifestWriter.open(await work(dir))
  expect(writer.published.get(exampleRef(0).sampleId)).toEqual(exampleRef(0))
  writer.append(exampleRef(5))
  await writer.complete([[1, 1]])
  expect((await readManifestRoot(dir))?.root.schema_version).toBe(3)
  expect([...(await readRefManifest({ dir })).refs]).toEqual([...refs, exampleRef(5)])
})
