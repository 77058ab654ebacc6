import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { resolvedYaml } from '../../src/config/resolved.ts'
import { CodedError } from '../../src/core/errors.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-config-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

async function load(store: string, env: NodeJS.ProcessEnv = {}, sets: string[] = []) {
  const file = path.join(folder, 'draftbridge.yaml')
  await writeFile(file, `version: 1\ntarget: { model: m.gguf }\nstore: ${store}\n`)
  return loadConfig({ file, env, sets })
}

async function errorText(store: string, env: NodeJS.ProcessEnv = {}, sets: string[] = []): Promise<string> {
  const error: unknown = await load(store, env, sets).catch((thrown: unknown) => thrown)
  if (!(error instanceof CodedError)) throw new Error(`expected a CodedError, got ${String(error)}`)
  expect(error.code).toBe('CONFIG_INVALID')
  return `${error.message}\n${JSON.stringify(error.details)}`
}

const KEY = '00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef'

it('by default the store has no key and no quota, and verifies always', async () => {
  const { store } = await load('{}')
  expect(store).toMatchObject({ auth: { mode: 'none', keyFile: null }, verify: 'always', quota: null, dedup: false })
})

it('reads a quota in units, and the key file as a path: ~, variables and the folder of the config', async () => {
  const env = { HOME: '/home/me', KEYS: '/keys' }
  const keyFile = async (text: string) =>
    (await load(`{ auth: { mode: seal, keyFile: "${text}" } }`, env)).store.auth.keyFile
  expect(await keyFile('~/key')).toBe('/home/me/key')
  expect(await keyFile(`$\{KEYS}/a`)).toBe('/keys/a')
  expect(await keyFile('key')).toBe(path.join(folder, 'key'))
  expect((await load('{ quota: 2TiB }')).store.quota).toBe(2 * 2 ** 40)
})

describe('the key itself', () => {
  it('in the environment does not get into the resolved config', async () => {
    const env = { DRAFTBRIDGE_STORE_KEY: KEY }
    expect(resolvedYaml(await load('{ auth: { mode: mac } }', env))).not.toContain(KEY)
  })

  it.each([
    ['as the key file', `{ auth: { mode: mac, keyFile: ${KEY} } }`],
    ['as the key file, in base64', `{ auth: { mode: mac, keyFile: ${Buffer.from(KEY, 'hex').toString('base64')} } }`],
    ['as the section', `{ auth: ${KEY} }`],
    ['as the mode', `{ auth: { mode: "${KEY}" } }`],
    ['under a key of its own', `{ auth: { mode: mac, key: ${KEY} } }`],
  ])('is rejected and not repeated when the config contains it %s', async (_, store) => {
    const text = await errorText(store)
    expect(text).not.toContain(KEY)
    expect(text).not.toContain(Buffer.from(KEY, 'hex').toString('base64'))
    expect(text).toContain('store.auth')
  })

  it('is not repeated when a flag or a mistyped variable contains it', async () => {
    for (const text of [
      await errorText('{}', {}, [`store.auth.key=${KEY}`]),
      await errorText('{}', {}, [`store.auth=${KEY}`]),
      await errorText('{}', {}, [`store.auth.keyFile=${KEY}`]),
      await errorText('{}', { DRAFTBRIDGE_STORE_AUTH_KEY: KEY }),
      await errorText('{}', { DRAFTBRIDGE_STORE_AUTH: KEY }),
    ]) {
      expect(text).not.toContain(KEY)
    }
  })
})

it.each([
  ['{ auth: { keyFile: key } }', 'none, but store.auth.keyFile names a key'],
  ['{ kind: local, auth: { mode: mac, keyFile: key } }', 'no other process can reach a local store'],
  ['{ verify: once, auth: { mode: mac, keyFile: key } }', 'data that is not verified may be forged'],
  ['{ dedup: true, auth: { mode: seal, keyFile: key } }', 'equal tensors are sealed to different bytes'],
  ['{ verify: sometimes }', 'one of always | once | never'],
])('%s is rejected', async (store, words) => {
  expect(await errorText(store)).toContain(words)
})
