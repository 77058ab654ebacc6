import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { SampleId } from '../../../src/core/ids.ts'
import type { SampleRef } from '../../../src/core/sample-ref.ts'
import { ManifestWriter, readRefManifest } from '../../../src/refs/manifest.ts'
import { rekeyStore } from '../../../src/roles/maintain/store-rekey.ts'
import { sharedDirFeatureStore } from '../../../src/store/open.ts'
import { about, sample } from '../../contract/subject.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { allBytes, flipLast, objectIn } from '../../support/forgery.ts'
import { keyFile, secretHex } from '../../support/key-files.ts'
import { checkHandlesAfterEach, digestsOf, python } from '../../support/python.ts'
import { exampleContract } from '../../support/refs.ts'
import { tempDir } from '../../support/temp-dir.ts'

checkHandlesAfterEach()

let root = ''
let manifest = ''
let [oldKey, newKey] = ['', '']
beforeEach(async () => {
  const dir = await tempDir()
  ;[root, manifest] = [path.join(dir, 'store'), path.join(dir, 'manifest')]
  ;[oldKey, newKey] = [await keyFile(1), await keyFile(2)]
})

const open = (mode: 'mac' | 'seal', file: string) =>
  sharedDirFeatureStore({ python, root, retain: true, auth: { mode, keyFile: file }, create: true })
const ids = Array.from({ length: 5 }, (_, index) => SampleId.parse(`run:${index}`))

/** A store of five samples with a complete manifest. */
async function filled(mode: 'mac' | 'seal'): Promise<readonly SampleRef[]> {
  await using store = await open(mode, oldKey)
  const { key, id: storeId } = store
  const given = { dir: manifest, runId: about.runId, storeId, contract: exampleContract, clock: new FakeClock(), key }
  const writer = await ManifestWriter.open(given)
  const refs: SampleRef[] = []
  for (const [seed, id] of ids.entries()) {
    await using source = await sample(seed)
    refs.push(await store.put(id, source, about))
  }
  for (const ref of refs) writer.append(ref)
  await writer.complete([])
  return refs
}

const rekey = (more: { keyFile?: string; newKeyFile?: string; after?: number; manifests?: string[] } = {}) => {
  const abort = new AbortController()
  const place = { root, config: null, keyFile: more.keyFile ?? oldKey }
  return rekeyStore(place, {
    newKeyFile: more.newKeyFile ?? newKey,
    manifests: more.manifests ?? [manifest],
    signal: abort.signal,
    onProgress: (objects) => {
      if (objects === more.after) abort.abort(new Error('killed'))
    },
  })
}

/** Expects that every sample and the manifest can be read with this key, with the values that were put. */
async function expectAll(mode: 'mac' | 'seal', file: string, refs: readonly SampleRef[]): Promise<void> {
  await using store = await open(mode, file)
  const { key, id: storeId } = store
  expect([...(await readRefManifest({ dir: manifest, storeId, key })).refs]).toEqual(refs)
  for (const [seed, ref] of refs.entries()) {
    await using source = await sample(seed)
    await using lease = await store.get(ref)
    expect(await digestsOf(lease.tensors)).toEqual(await digestsOf(source))
  }
}

describe.each(['mac', 'seal'] as const)('a store with %s', (mode) => {
  it('afterwards opens with the new key and all old refs, and not with the old key', async () => {
    const refs = await filled(mode)
    expect(await rekey()).toMatchObject({ rewritten: 5, objects: 5, manifests: 1 })
    await expectAll(mode, newKey, refs)
    await expect(open(mode, oldKey)).rejects.toMatchObject({ code: 'STORE_AUTH' })
    const text = await readFile(path.join(root, 'store.json'), 'utf8')
    expect(JSON.parse(text).auth).not.toHaveProperty('rekey')
    const bytes = await allBytes(root)
    for (const number of [1, 2]) {
      expect(bytes.includes(secretHex(number))).toBe(false)
      expect(bytes.includes(Buffer.from(secretHex(number), 'hex'))).toBe(false)
    }
    expect(await rekey()).toMatchObject({ rewritten: 0, objects: 5 })
  })

  it('resumes an interrupted rekey, and until then the new key reads every sample', async () => {
    const refs = await filled(mode)
    await expect(rekey({ after: 2 })).rejects.toThrow('killed')
    await expectAll(mode, newKey, refs)
    await expect(rekey({ keyFile: await keyFile(3) })).rejects.toMatchObject({ code: 'STORE_AUTH' })
    await expect(rekey({ newKeyFile: await keyFile(3) })).rejects.toThrow('already being changed to another key')
    await using reader = await open(mode, oldKey)
    const codes = await Promise.all(refs.map((ref) => reader.get(ref).then(release, codeOf)))
    expect(codes.sort()).toEqual(['STORE_AUTH', 'STORE_AUTH', 'read', 'read', 'read'])
    await reader.close()
    expect(await rekey({ keyFile: newKey, after: -1 })).toMatchObject({ rewritten: 3 })
    await expectAll(mode, newKey, refs)
  })
})

const release = async (lease: AsyncDisposable): Promise<string> => {
  await lease[Symbol.asyncDispose]()
  return 'read'
}
const codeOf = (error: { code?: string }) => error.code ?? String(error)

it('fails while another process has the store open, for the same key, and for a store without a key', async () => {
  await filled('mac')
  {
    await using other = await open('mac', oldKey)
    await other.usage()
    await expect(rekey()).rejects.toMatchObject({ code: 'STORE_BUSY' })
  }
  await expect(rekey({ newKeyFile: oldKey })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  root = path.join(await tempDir(), 'plain')
  await (await sharedDirFeatureStore({ python, root })).close()
  await expect(rekey()).rejects.toMatchObject({ code: 'STORE_AUTH' })
})

it('does not rewrite objects that fail the check with the old key, and finishes once they are removed', async () => {
  const refs = await filled('mac')
  const file = await objectIn(root, 'run:3')
  await flipLast(file)
  await expect(rekey()).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT' })
  await rm(file)
  expect(await rekey()).toMatchObject({ objects: 4 })
  await using store = await open('mac', newKey)
  await expect(store.get(refs[3] as SampleRef)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
})

it('a forged old key in store.json is rejected', async () => {
  await filled('mac')
  await expect(rekey({ after: 2 })).rejects.toThrow('killed')
  const file = path.join(root, 'store.json')
  const stored = JSON.parse(await readFile(file, 'utf8'))
  stored.auth.rekey.wrapped = stored.auth.rekey.wrapped.replace(/^../, (hex: string) => (hex === '00' ? '01' : '00'))
  await writeFile(file, JSON.stringify(stored))
  await expect(open('mac', newKey)).rejects.toMatchObject({ code: 'STORE_AUTH' })
})
