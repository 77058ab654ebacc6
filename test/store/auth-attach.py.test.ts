import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { CodedError } from '../../src/core/errors.ts'
import type { StoreAuth } from '../../src/store/auth/store-auth.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { openStoreForMaintenance, tryStoreAuth } from '../../src/store/open-for-maintenance.ts'
import { keyFile, secretHex } from '../support/key-files.ts'
import { checkHandlesAfterEach, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

checkHandlesAfterEach()

const freshRoot = async () => path.join(await tempDir(), 'store')
const open = (root: string, auth: StoreAuth, create = true) => sharedDirFeatureStore({ python, root, auth, create })
const storeJson = async (root: string) => JSON.parse(await readFile(path.join(root, 'store.json'), 'utf8'))
const change = async (root: string, edit: (about: ReturnType<typeof JSON.parse>) => void) => {
  const about = await storeJson(root)
  edit(about)
  await writeFile(path.join(root, 'store.json'), JSON.stringify(about))
}
const everything = async (root: string) => (await readdir(root, { recursive: true })).sort()

/** The error of an attempt to attach; it must have made nothing. */
async function refusal(root: string, auth: StoreAuth): Promise<CodedError> {
  const before = await everything(path.dirname(root))
  const error: unknown = await open(root, auth).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'STORE_AUTH', exitCode: 77 })
  expect(await everything(path.dirname(root))).toEqual(before)
  for (const number of [1, 2]) expect(String((error as Error).message)).not.toContain(secretHex(number))
  return error as CodedError
}

async function madeWith(mode: StoreAuth['mode'], number = 1): Promise<{ root: string; auth: StoreAuth }> {
  const root = await freshRoot()
  const auth = { mode, keyFile: mode === 'none' ? null : await keyFile(number) }
  await (await open(root, auth)).close()
  return { root, auth }
}

describe.each(['mac', 'seal'] as const)('a store made with %s', (mode) => {
  it('is attached to with its own key, by as many as make it at once, and has one id', async () => {
    const root = await freshRoot()
    const auth = { mode, keyFile: await keyFile() }
    const stores = await Promise.all(Array.from({ length: 6 }, () => open(root, auth)))
    for (const store of stores) await store.close()
    expect(new Set(stores.map(({ id }) => id)).size).toBe(1)
    const { auth: record } = await storeJson(root)
    expect(record).toMatchObject({ mode, salt: expect.stringMatching(/^[0-9a-f]{32}$/) })
    expect(await readFile(path.join(root, 'store.json'), 'utf8')).not.toContain(secretHex(1))
  })

  it('has a salt and a check value of its own', async () => {
    const [first, second] = [await storeJson((await madeWith(mode)).root), await storeJson((await madeWith(mode)).root)]
    for (const field of ['salt', 'check', 'keyId']) expect(first.auth[field]).not.toBe(second.auth[field])
  })

  it('refuses no key, another key, none and the other mode', async () => {
    const { root, auth } = await madeWith(mode)
    expect((await refusal(root, { mode })).message).toContain('the store needs a key, and none is given')
    expect((await refusal(root, { mode, keyFile: await keyFile(2) })).message).toContain('not the key of the store')
    expect((await refusal(root, { mode: 'none' })).message).toContain(`set store.auth.mode to ${mode}`)
    const other = mode === 'mac' ? 'seal' : 'mac'
    expect((await refusal(root, { ...auth, mode: other })).message).toContain('protected in another way')
  })

  it.each([
    ['is said to have no key', (about) => (about.auth = { mode: 'none' })],
    ['is said to have the other mode', (about) => (about.auth.mode = about.auth.mode === 'mac' ? 'seal' : 'mac')],
    ['has another id', (about) => (about.storeId = 'store-other')],
    ['has another salt', (about) => (about.auth.salt = '0'.repeat(32))],
    ['has another check value', (about) => (about.auth.check = '0'.repeat(32))],
  ] as [string, (about: ReturnType<typeof JSON.parse>) => void][])('that %s is not attached to', async (_, edit) => {
    const { root, auth } = await madeWith(mode)
    await change(root, edit)
    await refusal(root, auth)
  })

  it('is not made with a key file that is open to others, is a link, or holds no key', async () => {
    const file = await keyFile()
    await chmod(file, 0o644)
    expect((await refusal(await freshRoot(), { mode, keyFile: file })).message).toContain('mode 0644')
    await chmod(file, 0o600)
    await symlink(file, `${file}.link`)
    expect((await refusal(await freshRoot(), { mode, keyFile: `${file}.link` })).message).toContain('a symbolic link')
    await writeFile(file, secretHex(1).slice(1))
    expect((await refusal(await freshRoot(), { mode, keyFile: file })).message).toContain('63 bytes')
  })
})

it('a store without a key is not attached to with one, and the error says what to do', async () => {
  const { root } = await madeWith('none')
  const { message } = await refusal(root, { mode: 'mac', keyFile: await keyFile() })
  expect(message).toContain('this store is not protected')
  expect(message).toContain('none; store.auth.mode is mac')
})

it('a consumer with a key that finds no store makes none', async () => {
  const root = await freshRoot()
  await mkdir(root)
  const attempt = open(root, { mode: 'mac', keyFile: await keyFile() }, false)
  await expect(attempt).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(await readdir(root)).toEqual([])
})

describe('a key that is given demands a keyed store', () => {
  afterEach(() => void vi.unstubAllEnvs())
  const sources = {
    'a file': keyFile,
    'the environment': async () => {
      vi.stubEnv('DRAFTBRIDGE_STORE_KEY', secretHex(1))
      return null
    },
  }
  const none = { mode: 'none' } as const

  it.each(['a file', 'the environment'] as const)('from %s', async (source) => {
    const { root } = await madeWith('none')
    const given = await sources[source]()
    const named = given ?? 'DRAFTBRIDGE_STORE_KEY'
    const auth = { ...none, keyFile: given }
    expect((await refusal(root, auth)).message).toContain(`none, and a key in ${named}`)
    expect((await refusal(await freshRoot(), auth)).message).toContain('would be made without one')
    const refused = { code: 'STORE_AUTH', exitCode: 77 }
    for (const configured of [null, auth]) {
      const opening = openStoreForMaintenance({ python, root, auth: configured, keyFile: given })
      await expect(opening).rejects.toMatchObject(refused)
    }
    for (const place of [root, await freshRoot()])
      await expect(tryStoreAuth(python, place, auth)).rejects.toMatchObject(refused)
  })

  it('and a variable that is empty gives none', async () => {
    vi.stubEnv('DRAFTBRIDGE_STORE_KEY', '')
    await (await open((await madeWith('none')).root, none)).close()
  })
})
