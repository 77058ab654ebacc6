import { createHmac } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ProducedHealth } from '../../src/core/produced-health.ts'
import {
  ManifestWriter,
  type RootKey,
  readManifestRoot,
  readManifestSoFar,
  readRefManifest,
  recordFailure,
} from '../../src/refs/manifest.ts'
import { sha256 } from '../../src/refs/sha256.ts'
import { published, refs, work } from '../support/manifests.ts'

const health: ProducedHealth = {
  version: 1,
  inputs: 9,
  total: 9,
  whole: true,
  empty: 1,
  emptyCut: 1,
  emptyPlaces: ['talks.jsonl:3'],
  cutPlaces: [],
  refused: 3,
  reasons: [{ why: 'the file is bad', samples: 3, places: ['a:1', 'b:2'] }],
  notFinite: [{ state: 'aux_hidden_state, layer 12', samples: 2, places: ['a:1'] }],
  duplicates: { samples: 1, places: ['c:3'] },
}
const [first] = refs
const sign = async (text: string) => `hmac_sha256:${createHmac('sha256', 'ours').update(text).digest('hex')}`
const key: RootKey = { sign, verify: async (text, mac) => mac === (await sign(text)) }

async function complete(given: { readonly key?: RootKey } = {}) {
  const options = { ...(await work()), ...given }
  const writer = await ManifestWriter.open(options)
  if (first !== undefined) writer.append(first)
  await writer.complete([[1, 1]], health)
  return { ...options, file: path.join(options.dir, 'health.json') }
}

describe('what a producer counted', () => {
  it('comes back as it was published, and is absent where nobody counted', async () => {
    const { dir } = await complete()
    expect((await readRefManifest({ dir })).health).toEqual(health)
    expect((await readRefManifest({ dir: await published() })).health).toBeNull()
  })

  it('is absent in a manifest of an earlier version, which is read all the same', async () => {
    const dir = await published()
    const file = path.join(dir, 'manifest.json')
    const { health: _, sum: __, ...root } = JSON.parse(await readFile(file, 'utf8'))
    await writeFile(file, JSON.stringify({ ...root, schema_version: 2 }))
    const manifest = await readRefManifest({ dir })
    expect([manifest.health, manifest.refs.length]).toEqual([null, 5])
  })

  it('stays when the failure is recorded, and is taken back when a producer goes on', async () => {
    const given = await work()
    const writer = await ManifestWriter.open(given)
    if (first !== undefined) writer.append(first)
    await writer.flush({ ...health, whole: false })
    await writer[Symbol.asyncDispose]()
    await recordFailure({ ...given, code: 'FEATURE_INVALID' })
    const failed = await readManifestSoFar(given)
    expect([failed.root.state, failed.health]).toEqual(['failed', { ...health, whole: false }])
    const second = await ManifestWriter.open(given)
    expect((await readManifestSoFar(given)).health).toBeNull()
    await second.complete([[1, 1]], health)
    expect((await readRefManifest(given)).health).toEqual(health)
  })

  it('is written once: the bytes that a root lists never change', async () => {
    const given = await work()
    await using writer = await ManifestWriter.open(given)
    await writer.flush(health)
    await writer.flush({ ...health, inputs: 1 })
    expect((await readManifestSoFar(given)).health).toEqual(health)
  })

  it.each([
    ['altered', (file: string, text: string) => writeFile(file, text.replace('"refused": 3', '"refused": 0'))],
    ['cut', (file: string, text: string) => writeFile(file, text.slice(0, -10))],
    ['missing', (file: string) => rm(file)],
  ])('that was %s is refused, with and without a key', async (_, change) => {
    for (const given of [{}, { key }]) {
      const { dir, file } = await complete(given)
      await change(file, await readFile(file, 'utf8'))
      await expect(readRefManifest({ dir, ...given })).rejects.toMatchObject({
        code: 'MANIFEST_INVALID',
        details: { file },
      })
    }
  })

  it('cannot be replaced together with its sum by who has no key', async () => {
    const { dir, file } = await complete({ key })
    const forged = (await readFile(file, 'utf8')).replace('"refused": 3', '"refused": 0')
    await writeFile(file, forged)
    const root = path.join(dir, 'manifest.json')
    const about = JSON.parse(await readFile(root, 'utf8'))
    about.health = { ...about.health, sha256: sha256(forged) }
    await writeFile(root, `${JSON.stringify(about, null, 1)}\n`)
    // Who has no key sees the forgery: nothing tells.
    expect((await readRefManifest({ dir })).health?.refused).toBe(0)
    await expect(readRefManifest({ dir, key })).rejects.toMatchObject({ code: 'STORE_AUTH' })
  })

  it('of another form is refused though its sum is right, and names the file', async () => {
    const { dir, file } = await complete()
    const root = path.join(dir, 'manifest.json')
    const { sum: _, ...about } = JSON.parse(await readFile(root, 'utf8'))
    for (const text of ['{"version":2}', 'no json', '[]', JSON.stringify({ ...health, inputs: -1 })]) {
      await writeFile(file, text)
      const listed = { ...about.health, bytes: Buffer.byteLength(text), sha256: sha256(text) }
      await writeFile(root, JSON.stringify({ ...about, health: listed }))
      await expect(readRefManifest({ dir })).rejects.toMatchObject({ code: 'MANIFEST_INVALID', details: { file } })
    }
    expect((await readManifestRoot(dir))?.root.health?.file).toBe('health.json')
  })
})
