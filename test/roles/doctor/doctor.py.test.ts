import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { RunConfig } from '../../../src/config/schema.ts'
import { runChecks } from '../../../src/roles/doctor/doctor.ts'
import { sharedDirFeatureStore } from '../../../src/store/open.ts'
import { keyFile, secretHex } from '../../support/key-files.ts'
import { checkHandlesAfterEach, python } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'

checkHandlesAfterEach()
let dir: string
beforeEach(async () => {
  dir = await tempDir()
  await writeFile(at('train.jsonl'), '{"id": "a", "messages": [{"role": "user", "content": "hello"}]}\n')
  await writeFile(at('prompts.jsonl'), '{"id": "a", "prompt": "hello"}\n')
  await mkdir(at('model'))
  for (const name of MODEL_FILES) await writeFile(at(`model/${name}`), '{}')
})
const MODEL_FILES = ['config.json', 'model.safetensors', 'tokenizer.json', 'chat_template.jinja']
const at = (name: string): string => path.join(dir, name)

/** The checks of a config, by id. */
async function found(given: object) {
  const base = { version: 1, target: { model: at('model') }, store: { root: at('store') }, manifest: at('manifest') }
  const config = RunConfig.parse({ ...base, data: { conversations: at('train.jsonl') }, ...given })
  const checks = await runChecks(config)
  return Object.fromEntries(checks.map((check) => [check.id, check]))
}

describe('doctor', () => {
  it('accepts a config whose files exist, and leaves no files behind', async () => {
    const checks = await found({ eval: { prompts: at('prompts.jsonl') } })
    expect(Object.values(checks).filter(({ state }) => state === 'error')).toEqual([])
    expect(checks).toMatchObject({ 'data.conversations': { state: 'ok' }, 'eval.prompts': { state: 'ok' } })
    expect(checks).not.toHaveProperty('store.auth')
    expect(await readdir(dir)).toEqual(['model', 'prompts.jsonl', 'train.jsonl'])
  })

  it('names the config key of every missing file', async () => {
    const nope = at('nope')
    const checks = await found({
      target: { model: nope, tokenizer: nope },
      data: { conversations: nope },
      draft: { config: nope },
      eval: { prompts: nope },
    })
    for (const id of ['target.model', 'target.tokenizer', 'data.conversations', 'draft.config', 'eval.prompts']) {
      const [reason, fix] = [expect.stringMatching(/^\/.*nope.*not exist/), expect.stringContaining('set it to')]
      expect(checks[id]).toMatchObject({
        state: 'error',
        reason,
        fix: id === 'draft.config' ? expect.any(String) : fix,
      })
    }
  })

  it.each([
    ['config.json', 'target.model', 'error', 'no config.json'],
    ['model.safetensors', 'target.model', 'error', 'no weights'],
    ['tokenizer.json', 'target.tokenizer', 'error', 'no tokenizer in this folder'],
    ['chat_template.jinja', 'target.chatTemplate', 'warning', 'no chat template'],
  ])('says what a target without %s lacks, before a capture loads it', async (file, id, state, reason) => {
    await rm(at(`model/${file}`))
    expect((await found({}))[id]).toMatchObject({ state, reason: expect.stringContaining(reason) })
    // Training loads neither tokenizer nor template.
    const training = await found({ features: { source: 'files' } })
    expect(id in training).toBe(id === 'target.model')
  })

  it('finds a template that the tokenizer configuration holds', async () => {
    await rm(at('model/chat_template.jinja'))
    await writeFile(at('model/tokenizer_config.json'), '{"chat_template": "{{ messages }}"}')
    expect(await found({})).not.toHaveProperty('target.chatTemplate')
  })

  it('says whether a capture will refuse the conversations, with the places of the bad ones', async () => {
    const good = '{"messages": [{"role": "user", "content": "hello"}]}\n'
    const wizard = '{"conversations": [{"from": "wizard", "value": "hello"}]}\n'
    const check = async (text: string, data: object = {}) => {
      await writeFile(at('train.jsonl'), text)
      return (await found({ data: { conversations: at('train.jsonl'), ...data } }))['data.conversations']
    }
    expect(await check(good.repeat(3) + wizard)).toMatchObject({
      state: 'warning',
      reason: expect.stringMatching(/3 conversations can be read, 1 cannot: .*train\.jsonl:4: .*"wizard"/),
      fix: expect.stringContaining('human'),
    })
    const many = `${good}${wizard}{\n`
    expect(await check(many)).toMatchObject({
      state: 'error',
      reason: expect.stringMatching(/train\.jsonl:2: .*; also .*train\.jsonl:3.*more than data\.maxBadShare/),
    })
    expect(await check(many, { maxBadShare: 0.7 })).toMatchObject({ state: 'warning' })
    expect(await check(`${good.repeat(1000)}${wizard}`)).toMatchObject({
      state: 'ok',
      reason: expect.stringContaining('the first 1,000 conversations can be read'),
    })
  })

  it('detects a file of another format, and an empty file', async () => {
    await writeFile(at('prompts.jsonl'), '')
    await writeFile(at('other.jsonl'), '{"text":"a line of a book"}\n')
    const checks = await found({ data: { conversations: at('prompts.jsonl') }, eval: { prompts: at('other.jsonl') } })
    expect(checks['data.conversations']).toMatchObject({
      state: 'error',
      reason: expect.stringContaining('no conversation'),
    })
    expect(checks['eval.prompts']).toMatchObject({ state: 'error', reason: expect.stringContaining('other.jsonl:1: ') })
    expect((await found({ draft: { config: dir } }))['draft.config']).toMatchObject({ state: 'error' })
  })

  it('counts the feature files, and says when there are none', async () => {
    const files = (pattern: string | null) => found({ features: { source: 'files', files: pattern } })
    expect((await files(at('*.ckpt')))['features.files']).toMatchObject({ state: 'error', fix: expect.any(String) })
    expect((await files(null))['features.files']).toMatchObject({ state: 'warning' })
    await writeFile(at('a.ckpt'), 'abc')
    const one = (await files(at('*.ckpt')))['features.files']
    expect(one).toMatchObject({ state: 'ok', reason: expect.stringContaining('1 file, 3 B') })
    expect(await found({ data: { conversations: null } })).toMatchObject({ 'data.conversations': { state: 'warning' } })
  })
})

describe('the key of the store', () => {
  const keyed = async (file: string | null, mode = 'mac') => {
    const store = { root: at('store'), auth: { mode, keyFile: file } }
    const check = (await found({ store }))['store.auth']
    expect(JSON.stringify(check ?? null)).not.toContain(secretHex(1))
    return check
  }

  it('must exist and must not be readable by other users', async () => {
    expect(await keyed(null)).toMatchObject({ state: 'error', fix: expect.stringContaining('store.auth.keyFile') })
    expect(await keyed(at('nope'))).toMatchObject({
      state: 'error',
      reason: expect.stringContaining('the key file does not exist'),
    })
    const file = await keyFile()
    expect(await keyed(file)).toMatchObject({ state: 'ok', reason: expect.stringContaining('for a new store') })
    await chmod(file, 0o644)
    expect(await keyed(file, 'seal')).toMatchObject({ state: 'error', reason: expect.stringContaining('mode 0644') })
  })

  it('must be the key of the existing store', async () => {
    const [own, other] = [await keyFile(1), await keyFile(2)]
    const auth = { mode: 'mac', keyFile: own } as const
    await (await sharedDirFeatureStore({ python, root: at('store'), auth })).close()
    expect(await keyed(own)).toMatchObject({ state: 'ok', reason: expect.stringContaining('the key of the store') })
    expect(await keyed(other)).toMatchObject({ state: 'error', reason: expect.stringContaining('not the key') })
    expect(await keyed(own, 'seal')).toMatchObject({ state: 'error' })
    expect(await keyed(null, 'none')).toMatchObject({ state: 'error', reason: expect.stringContaining('protected') })
  })
})
