import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { shardOf } from '../../src/store/blob-key.ts'
import { DirectoryNotes } from '../../src/store/coordination/directory/directory-notes.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, s0, sample } from '../contract/subject.ts'
import { objectIn } from '../support/forgery.ts'
import { plantings } from '../support/planted.ts'
import { checkHandlesAfterEach, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

checkHandlesAfterEach()
const LARGE = 10 * 1024 ** 3
const freshRoot = async () => path.join(await tempDir(), 'store')
const open = (root: string, retain = false) => sharedDirFeatureStore({ python, root, retain, durability: 'fast' })

async function put(store: Awaited<ReturnType<typeof open>>) {
  await using source = await sample(1)
  return await store.put(s0, source, about)
}
const refused = (file: string, found: string) => ({
  code: 'STORE_UNAVAILABLE',
  details: { file, found: expect.stringContaining(found), fix: expect.stringContaining('find out who put it there') },
})

describe.each(Object.entries(plantings))('%s', (_, { plant, found }) => {
  it.each(['abort', 'put', 'release'])('beside an object is not waited for by %s, and named', async (deed) => {
    const root = await freshRoot()
    const store = await open(root)
    const ref = await put(store)
    const lease = await store.get(ref)
    const dir = path.join(root, 'extern', shardOf(s0))
    await mkdir(dir, { recursive: true })
    const file = path.join(dir, `${s0}.${ref.generation}.bin`)
    await using _planted = await plant(file)
    const deeds: Record<string, () => Promise<unknown>> = {
      abort: () => store.abort(s0),
      put: () => put(store),
      release: async () => lease[Symbol.asyncDispose](),
    }
    await expect(deeds[deed]?.()).rejects.toMatchObject(refused(file, found))
    await rm(file, { recursive: true })
    if (deed !== 'release') await lease[Symbol.asyncDispose]()
    await store.close()
  })

  it('in place of an object is SAMPLE_CORRUPT', async () => {
    const root = await freshRoot()
    const store = await open(root, true)
    const ref = await put(store)
    const file = await objectIn(root)
    await rm(file)
    await using _planted = await plant(file)
    const details = { file, found: expect.stringContaining(found) }
    await expect(store.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT', details })
    await store.close()
  })

  it('in place of store.json is refused', async () => {
    const root = await freshRoot()
    await (await open(root)).close()
    const file = path.join(root, 'store.json')
    await rm(file)
    await using _planted = await plant(file)
    await expect(open(root)).rejects.toMatchObject(refused(file, found))
  })

  it('in place of a note is neither read nor written through', async () => {
    const [root, staging] = [await tempDir(), await tempDir()]
    const notes = new DirectoryNotes(root, staging)
    await notes.write('members/one', 'alive 1')
    const file = path.join(root, 'members', 'one')
    await rm(file)
    await using _planted = await plant(file)
    await expect(notes.read('members/one')).rejects.toMatchObject(refused(file, found))
    await expect(notes.rewrite('members/one', 'alive 2')).rejects.toMatchObject(refused(file, found))
    const target = await readFile(`${file}.target`, 'utf8').catch(() => '{}')
    expect(target).toBe('{}')
  })
})

it('store.json and a note that have grown to 10 GB are refused, and not read', async () => {
  const root = await freshRoot()
  await (await open(root)).close()
  await truncate(path.join(root, 'store.json'), LARGE)
  await expect(open(root)).rejects.toMatchObject(refused(path.join(root, 'store.json'), String(LARGE)))
  const notes = new DirectoryNotes(root, await tempDir())
  await writeFile(path.join(root, 'note'), '')
  await truncate(path.join(root, 'note'), LARGE)
  await expect(notes.read('note')).rejects.toMatchObject(refused(path.join(root, 'note'), String(LARGE)))
})
