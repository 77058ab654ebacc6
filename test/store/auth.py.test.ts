import { copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, bench, s0, s1, sample } from '../contract/subject.ts'
import { allBytes, editMetadata, flipLast, objectIn } from '../support/forgery.ts'
import { keyFile } from '../support/key-files.ts'
import { digestsOf, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

let root = ''
let auth = { mode: 'mac' as 'mac' | 'seal', keyFile: '' }
const { store, put, consume } = bench({ open: ({ retain }) => sharedDirFeatureStore({ python, root, retain, auth }) })

async function refused(opened: FeatureStore, ref: SampleRef, ...codes: string[]): Promise<void> {
  const error = await opened.get(ref).catch((thrown: unknown) => thrown)
  expect(codes).toContain((error as { code?: string }).code)
}

describe.each(['mac', 'seal'] as const)(
  'in a store with %s, a party that can write to the mount and has no key',
  (mode) => {
    beforeEach(async () => {
      root = path.join(await tempDir(), 'store')
      auth = { mode, keyFile: await keyFile() }
    })

    it('is the only one to be refused: who has the key reads what was put, also later', async () => {
      const ref = await put(await store({ retain: true }), s0, 1)
      await using source = await sample(1)
      const plain = await digestsOf(source)
      expect(await consume(await store({ retain: true }), ref)).toEqual(plain)
      expect(ref.digests['input_ids'] === plain['input_ids']).toBe(mode === 'mac')
    })

    it('cannot forge an object, not even with all that the ref says', async () => {
      const opened = await store({ retain: true })
      const ref = await put(opened, s0, 1)
      const file = await objectIn(root)
      await using forged = await sample(2)
      const { format, store_id, run_id, sample_id, generation } = JSON.parse(
        (await readFile(file)).toString('latin1').slice(8, 4096),
      ).__metadata__
      const metadata = { format, store_id, run_id, sample_id, generation }
      await rm(file)
      await python.call('object.write', { handle: forged.handle, path: file, metadata, fsync: false })
      await refused(opened, ref, 'SAMPLE_CORRUPT')
    })

    it('cannot alter a byte of a tensor, nor its digest, nor drop the mac', async () => {
      const opened = await store({ retain: true })
      const ref = await put(opened, s0, 1)
      const file = await objectIn(root)
      const whole = await readFile(file)
      const attempts: (() => Promise<void>)[] = [
        () => flipLast(file),
        () => editMetadata(file, (about) => (about['digest.input_ids'] = `xxh3_64:${'0'.repeat(16)}`)),
        () => editMetadata(file, (about) => delete about['mac']),
        () =>
          editMetadata(file, (about) => {
            for (const field of ['auth', 'mac', 'key_id', 'object_salt']) delete about[field]
          }),
      ]
      for (const attempt of attempts) {
        await attempt()
        await refused(opened, ref, 'SAMPLE_CORRUPT')
        await writeFile(file, whole)
      }
      await (await opened.get(ref))[Symbol.asyncDispose]()
    })

    it('cannot swap two samples, nor two generations of one, nor put an older one in the place of the newest', async () => {
      const opened = await store({ retain: true })
      const [first, other] = [await put(opened, s0, 1), await put(opened, s1, 2)]
      const [file, otherFile] = [await objectIn(root, s0), await objectIn(root, s1)]
      await copyFile(file, `${root}.older`)
      await rename(file, `${root}.swap`)
      await copyFile(otherFile, file)
      await copyFile(`${root}.swap`, otherFile)
      await refused(opened, first, 'SAMPLE_CORRUPT')
      await refused(opened, other, 'SAMPLE_CORRUPT')
      const newest = await put(opened, s0, 3)
      await copyFile(`${root}.older`, await objectIn(root, `${s0}.${newest.generation}`))
      await refused(opened, newest, 'SAMPLE_CORRUPT')
      await copyFile(`${root}.older`, file)
      await refused(opened, newest, 'SAMPLE_CORRUPT')
    })

    it('cannot bring in an object of another store with the same key', async () => {
      const ref = await put(await store({ retain: true }), s0, 1)
      const file = await objectIn(root)
      const [here, metadata] = [root, (about: Record<string, string>) => (about['store_id'] = ref.storeId)]
      root = path.join(await tempDir(), 'other')
      await put(await store({ retain: true }), s0, 2)
      await copyFile(await objectIn(root), file)
      await editMetadata(file, metadata)
      root = here
      await refused(await store({ retain: true }), ref, 'SAMPLE_CORRUPT', 'STORE_AUTH')
    })

    it('can bring back what was there before, object and ref together, and gets what was there before: no mix', async () => {
      const opened = await store({ retain: true })
      const old = await put(opened, s0, 1)
      const [file, kept] = [await objectIn(root), `${root}.old`]
      await copyFile(file, kept)
      await put(opened, s0, 2)
      await refused(opened, old, 'SAMPLE_STALE')
      await copyFile(kept, file)
      expect(await consume(opened, old)).toEqual(await digestsOfSample(1))
    })
  },
)

async function digestsOfSample(seed: number): Promise<Readonly<Record<string, string>>> {
  await using source = await sample(seed)
  return digestsOf(source)
}

describe('a party that can only read the mount of a sealed store', () => {
  it('finds neither a row of a tensor, nor a token, nor a digest that it could compare with', async () => {
    root = path.join(await tempDir(), 'store')
    auth = { mode: 'seal', keyFile: await keyFile() }
    const opened = await store({ retain: true })
    await using source = await sample(1)
    await opened.put(s0, source, about)
    const stored = await allBytes(root)
    const plainFile = `${root}.plain`
    await python.call('object.write', { handle: source.handle, path: plainFile, metadata: {}, fsync: false })
    const plain = await readFile(plainFile)
    const begin = 8 + Number(plain.readBigUInt64LE(0))
    for (let at = begin; at + 8 <= plain.length; at += 8) {
      const piece = plain.subarray(at, at + 8)
      // Small numbers are mostly zeros, which also stand in headers.
      if (new Set(piece).size > 2) expect(stored.includes(piece)).toBe(false)
    }
    for (const digest of Object.values(await digestsOf(source))) {
      expect(stored.includes(digest.replace('xxh3_64:', ''))).toBe(false)
    }
    expect(stored.includes('aux_hidden_state')).toBe(true)
  })

  it('cannot tell whether two samples are equal', async () => {
    root = path.join(await tempDir(), 'store')
    auth = { mode: 'seal', keyFile: await keyFile() }
    const opened = await store({ retain: true })
    const [first, second] = [await put(opened, s0, 1), await put(opened, s1, 1)]
    for (const name of Object.keys(first.digests)) expect(first.digests[name]).not.toBe(second.digests[name])
    const [one, two] = [await readFile(await objectIn(root, s0)), await readFile(await objectIn(root, s1))]
    expect(one.subarray(-64).equals(two.subarray(-64))).toBe(false)
  })
})
