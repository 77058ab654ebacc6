import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ManifestWriter, readManifestRoot, readRefManifest, waitForManifest } from '../../../src/refs/manifest.ts'
import { readTokenCounts } from '../../../src/refs/token-counts-file.ts'
import { PublishedRefs } from '../../../src/refs/write/published-refs.ts'
import { published, refs, work } from '../../support/manifests.ts'
import { plantings } from '../../support/planted.ts'

const FILES = ['manifest.json', 'segment-000000.ndjson', 'token-counts.ndjson'] as const
const LARGE = 10 * 1024 ** 3

/** Everything that reads the manifest in `dir`, and its file `name`. */
async function readings(dir: string, name: string): Promise<(() => Promise<unknown>)[]> {
  const given = await work(dir)
  const wait = { dir, clock: given.clock, signal: new AbortController().signal, timeoutSeconds: 60 }
  const all = [() => readRefManifest({ dir })]
  if (name === 'manifest.json') {
    return [...all, () => readManifestRoot(dir), () => ManifestWriter.open(given), () => waitForManifest(wait)]
  }
  return name === 'token-counts.ndjson' ? [...all, () => readTokenCounts([path.join(dir, name)])] : all
}

describe.each(FILES)('%s', (name) => {
  it.each(Object.entries(plantings))('%s in its place is refused by all who read it', async (_, { plant, found }) => {
    const dir = await published()
    const file = path.join(dir, name)
    const all = await readings(dir, name)
    await rm(file)
    await using _planted = await plant(file)
    const details = { file, found: expect.stringContaining(found), fix: expect.stringContaining('run the producer') }
    for (const read of all) await expect(read()).rejects.toMatchObject({ code: 'MANIFEST_INVALID', details })
  })

  it('grown to 10 GB is refused, and not read', async () => {
    const dir = await published()
    const file = path.join(dir, name)
    await truncate(file, LARGE)
    const details = { file, found: expect.stringContaining(String(LARGE)) }
    for (const read of await readings(dir, name)) {
      await expect(read()).rejects.toMatchObject({ code: 'MANIFEST_INVALID', exitCode: 65, details })
    }
  })
})

it('a segment of 10 GB is not read either when the root says so too', async () => {
  const dir = await published()
  const root = path.join(dir, 'manifest.json')
  const { sum: _, ...about } = JSON.parse(await readFile(root, 'utf8'))
  about.segments[0].bytes = LARGE
  await writeFile(root, JSON.stringify(about))
  await truncate(path.join(dir, about.segments[0].file), LARGE)
  const found = `the root lists ${LARGE} bytes; at most ${1024 ** 3}`
  await expect(readRefManifest({ dir })).rejects.toMatchObject({ code: 'MANIFEST_INVALID', details: { found } })
})

it('a producer that looks up what it published refuses a segment that was replaced', async () => {
  const dir = await published()
  const { segments, specs, provenance_keys: keys, run_id: runId, store_id: storeId } = await rootOf(dir)
  const [entry] = segments
  const [ref] = refs
  if (entry === undefined || ref === undefined) throw new Error('no segment')
  const listed = new PublishedRefs(dir)
  listed.add(entry, [ref.sampleId])
  await truncate(path.join(dir, entry.file), LARGE)
  const attempt = () => listed.get(ref.sampleId, { runId, storeId, specs, keys })
  expect(attempt).toThrow(`${LARGE} bytes, of which at most ${entry.bytes}`)
})

async function rootOf(dir: string) {
  const found = await readManifestRoot(dir)
  if (found === null) throw new Error('no root')
  return found.root
}
