import { createHmac } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  ManifestWriter,
  type RootKey,
  readManifestRoot,
  readRefManifest,
  recordFailure,
  waitForManifest,
} from '../../../src/refs/manifest.ts'
import { published, refs, work } from '../../support/manifests.ts'

const keyOf = (secret: string): RootKey => {
  const sign = async (text: string) => `hmac_sha256:${createHmac('sha256', secret).update(text).digest('hex')}`
  return { sign, verify: async (text, mac) => mac === (await sign(text)) }
}
const key = keyOf('ours')

async function signed() {
  const given = { ...(await work()), key }
  const writer = await ManifestWriter.open(given)
  await writer.complete([])
  return { ...given, file: path.join(given.dir, 'manifest.json') }
}
const auth = { code: 'STORE_AUTH', exitCode: 77 }

it('a signed manifest is read by who has the key, and by who needs none', async () => {
  const { dir } = await signed()
  const { refs, sha256 } = await readRefManifest({ dir, key })
  expect(await readRefManifest({ dir })).toMatchObject({ refs, sha256 })
  expect(JSON.parse(await readFile(path.join(dir, 'manifest.json'), 'utf8')).mac).toMatch(/^hmac_sha256:[0-9a-f]{64}$/)
})

describe('every way to read or go on with a manifest refuses one that', () => {
  const forgeries: Readonly<Record<string, (text: string) => Promise<string> | string>> = {
    'has no mac': (text) => text.replace(/,\n "mac": "[^"]+"/, ''),
    'was altered': (text) => text.replace(/"heartbeat": \d/, '"heartbeat": 9'),
    'was only laid out anew': (text) => JSON.stringify(JSON.parse(text)),
    'has a mac of zeros': (text) => text.replace(/(hmac_sha256:)[0-9a-f]{64}/, `$1${'0'.repeat(64)}`),
    'was signed with another key': async (text) => {
      const blank = text.replace(/(hmac_sha256:)[0-9a-f]{64}/, `$1${'0'.repeat(64)}`)
      return blank.replace(/hmac_sha256:0{64}/, await keyOf('theirs').sign(blank))
    },
  }
  it.each(Object.keys(forgeries))('%s', async (name) => {
    const given = await signed()
    const before = await readFile(given.file, 'utf8')
    const forged = (await forgeries[name]?.(before)) ?? ''
    expect(forged).not.toBe(before)
    await writeFile(given.file, forged)
    const { dir } = given
    const wait = { dir, key, signal: new AbortController().signal, timeoutSeconds: 60 }
    await expect(readRefManifest({ dir, key })).rejects.toMatchObject(auth)
    await expect(readManifestRoot(dir, key)).rejects.toMatchObject(auth)
    await expect(ManifestWriter.open(given)).rejects.toMatchObject(auth)
    await expect(recordFailure({ ...given, code: 'OUT_OF_MEMORY' })).rejects.toMatchObject(auth)
    await expect(waitForManifest(wait)).rejects.toMatchObject(auth)
    expect(await readFile(given.file, 'utf8')).toBe(forged)
  })
})

it('two segments cannot change places, with or without their sums', async () => {
  const given = { ...(await work()), key }
  const writer = await ManifestWriter.open(given)
  for (const ref of refs.slice(0, 3)) writer.append(ref)
  await writer.flush()
  for (const ref of refs.slice(3)) writer.append(ref)
  await writer.complete([])
  const { dir } = given
  const root = path.join(dir, 'manifest.json')
  const about = JSON.parse(await readFile(root, 'utf8'))
  const [a, b] = about.segments
  const [one, two] = [path.join(dir, a.file), path.join(dir, b.file)]
  const [first, second] = [await readFile(one), await readFile(two)]
  expect(first.equals(second)).toBe(false)
  await writeFile(one, second)
  await writeFile(two, first)
  await expect(readRefManifest({ dir, key })).rejects.toMatchObject({ code: 'MANIFEST_INVALID' })
  about.segments = [
    { ...b, file: a.file },
    { ...a, file: b.file },
  ]
  await writeFile(root, `${JSON.stringify(about, null, 1)}\n`)
  expect((await readRefManifest({ dir })).refs.length).toBe(5)
  await expect(readRefManifest({ dir, key })).rejects.toMatchObject(auth)
})

it('an older manifest of the same work that is put back whole is authentic: only its refs tell', async () => {
  const given = { ...(await work()), key }
  const writer = await ManifestWriter.open(given)
  const file = path.join(given.dir, 'manifest.json')
  const older = await readFile(file)
  writer.append(refs[0] as (typeof refs)[0])
  await writer.complete([])
  await writeFile(file, older)
  expect((await readManifestRoot(given.dir, key))?.root.state).toBe('open')
})

it('a manifest without a mac is refused once there is a key, and one that failed is signed too', async () => {
  await expect(readRefManifest({ dir: await published(), key })).rejects.toMatchObject(auth)
  const given = { ...(await work()), key }
  await recordFailure({ ...given, code: 'OUT_OF_MEMORY' })
  expect((await readManifestRoot(given.dir, key))?.root.state).toBe('failed')
})

describe('with a key in the environment, who does not open the store', () => {
  afterEach(() => void vi.unstubAllEnvs())

  it('reads a manifest with a mac, and refuses one without', async () => {
    const [{ dir: withMac }, without] = [await signed(), await published()]
    vi.stubEnv('DRAFTBRIDGE_STORE_KEY', '5a'.repeat(32))
    expect((await readRefManifest({ dir: withMac })).refs.length).toBe(0)
    await expect(readRefManifest({ dir: without })).rejects.toMatchObject(auth)
    await expect(readManifestRoot(without)).rejects.toThrow('no mac, and a key in DRAFTBRIDGE_STORE_KEY')
  })
})
