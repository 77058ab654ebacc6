import { lstat, mkdir, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { SampleId } from '../../src/core/ids.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, bench, s0, s1, sample } from '../contract/subject.ts'
import { objectIn } from '../support/forgery.ts'
import { python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

let root = ''
let outside = ''
const { store, put } = bench({ open: ({ retain }) => sharedDirFeatureStore({ python, root, retain }) })

beforeEach(async () => {
  root = path.join(await tempDir(), 'store')
  outside = path.join(await tempDir(), 'outside')
})

/** Everything about every file outside: names, contents, times. */
async function fingerprint(): Promise<string> {
  const lines: string[] = []
  for (const name of ['.', ...(await readdir(outside, { recursive: true })).sort()]) {
    const file = path.join(outside, name)
    const info = await lstat(file)
    lines.push(`${name} ${info.mode} ${info.mtimeMs} ${info.isFile() ? await readFile(file, 'hex') : ''}`)
  }
  return lines.join('\n')
}

/** Moves a directory of the store out of it, as it is, and plants a link in its place. */
async function plant(part: string): Promise<void> {
  await rename(path.join(root, part), outside)
  // Files with the names of notes and objects, which a store that followed the link would replace or remove.
  for (const name of ['1', '7', 'x.note', 'stop.safetensors']) await writeFile(path.join(outside, name), 'precious')
  await symlink(outside, path.join(root, part))
}

/** Everything that a store can be asked for. */
async function everything(opened: FeatureStore, ref: Awaited<ReturnType<typeof put>>): Promise<unknown[]> {
  await using source = await sample(2)
  const attempts = [
    () => opened.put(s0, source, about),
    () => opened.get(ref).then((lease) => lease[Symbol.asyncDispose]()),
    () => opened.claim(ref).then((claim) => claim[Symbol.asyncDispose]()),
    () => opened.quarantine(ref, 'a test'),
    () => opened.missing([ref]),
    () => opened.abort(s0),
    () => opened.usage(),
    () => opened.fence('m0123456789abcdef'),
  ]
  const errors: unknown[] = []
  for (const attempt of attempts) await attempt().catch((error: unknown) => errors.push(error))
  return errors
}

const shard = async () => path.join('objects', path.basename(path.dirname(await objectIn(root))))

describe('a link in the place of', () => {
  it.each(['objects', 'staging', 'quarantine', 'notes', 'extern', 'content', 'store.json'])(
    '%s: the store is not attached to, and nothing outside is touched',
    async (part) => {
      await put(await store({ retain: true }), s0, 1)
      const target = path.join(root, part)
      await mkdir(path.join(root, part), { recursive: true }).catch(() => undefined)
      await rename(target, outside)
      await symlink(outside, target)
      const before = part === 'store.json' ? await readFile(outside, 'utf8') : await fingerprint()
      await expect(store()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(part === 'store.json' ? await readFile(outside, 'utf8') : await fingerprint()).toBe(before)
    },
  )

  it.each(['objects', 'the shard', 'quarantine', 'notes/epochs', 'notes/leases', 'notes/members', 'notes/claims'])(
    '%s, planted while the store is open: nothing outside is read, written or removed',
    async (part) => {
      const opened = await store({ retain: true })
      const ref = await put(opened, s0, 1)
      await using held = await opened.get(ref)
      const where = part === 'the shard' ? await shard() : part
      await mkdir(path.join(root, where), { recursive: true })
      await plant(where)
      const before = await fingerprint()
      const errors = await everything(opened, ref)
      expect(await fingerprint()).toBe(before)
      for (const error of errors) expect(error).toMatchObject({ code: expect.stringMatching(/^(STORE|SAMPLE)_/) })
      expect(errors.length).toBeGreaterThan(0)
      await rm(path.join(root, where))
      await rename(outside, path.join(root, where))
      for (const name of ['1', '7']) await rm(path.join(root, where, name))
      await held[Symbol.asyncDispose]()
    },
  )

  it('an object: it is not followed, and removing it leaves what it points to', async () => {
    const opened = await store({ retain: true })
    const ref = await put(opened, s0, 1)
    const file = await objectIn(root)
    await mkdir(outside)
    await rename(file, path.join(outside, 'real'))
    await symlink(path.join(outside, 'real'), file)
    const before = await fingerprint()
    await expect(opened.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT' })
    await opened.quarantine(ref, 'a link')
    await opened.abort(s0)
    expect(await fingerprint()).toBe(before)
  })

  it('a reason in quarantine: it is replaced, not written through', async () => {
    const opened = await store({ retain: true })
    const ref = await put(opened, s0, 1)
    await mkdir(outside)
    await writeFile(path.join(outside, 'precious'), 'precious')
    await utimes(path.join(outside, 'precious'), 1, 1)
    for (const end of ['', '.reason.json', '.reason.txt']) {
      const name = `${s0}.${ref.generation}.safetensors${end}`
      await symlink(path.join(outside, 'precious'), path.join(root, 'quarantine', name))
    }
    const before = await fingerprint()
    await opened.quarantine(ref, 'a test')
    expect(await fingerprint()).toBe(before)
  })
})

it.each([
  '../../outside/x',
  '/etc/passwd',
  'a/../../b',
  'a\u0000b',
  `a${'b'.repeat(200)}`,
  '.',
  '..',
  '',
  'ä',
  'a\nb',
  'a\\b',
  '-rf',
])('the sample id %j is refused before a path is made of it', async (id) => {
  const opened = await store({ retain: true })
  const ref = await put(opened, s0, 1)
  await using source = await sample(1)
  const before = await readdir(root, { recursive: true })
  const bad = id as SampleId
  for (const attempt of [opened.put(bad, source, about), opened.abort(bad), opened.get({ ...ref, sampleId: bad })]) {
    await expect(attempt).rejects.toMatchObject({ code: 'REF_INVALID' })
  }
  expect(await readdir(root, { recursive: true })).toEqual(before)
})

it('the longest sample id still has a file name that fits', async () => {
  const id = SampleId.parse('a'.repeat(200))
  const opened = await store({ retain: true })
  const ref = await put(opened, id, 1)
  await (await opened.get(ref))[Symbol.asyncDispose]()
})

describe.each([0o000, 0o077])('with umask %i', (mask) => {
  it('every file is 0600 and every directory 0700', async () => {
    const before = process.umask(mask)
    try {
      const opened = await store({ retain: true })
      const ref = await put(opened, s0, 1)
      await using held = await opened.get(ref)
      await using claim = await opened.claim(await put(opened, s1, 2))
      await opened.quarantine(await put(opened, SampleId.parse('bad'), 3), 'a test')
      for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
        const file = path.join(entry.parentPath, entry.name)
        const mode = ((await lstat(file)).mode & 0o7777).toString(8)
        expect([file, mode]).toEqual([file, entry.isDirectory() ? '700' : '600'])
      }
      expect([held.ref, claim.ref]).toHaveLength(2)
    } finally {
      process.umask(before)
    }
  })
})
