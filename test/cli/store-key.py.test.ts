import { spawn } from 'node:child_process'
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { allBytes } from '../support/forgery.ts'
import { keyFile, secretHex } from '../support/key-files.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainingConfig, trainingInputs } from '../support/training.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))
let dir = ''
beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir, 3)
})

interface Ended {
  readonly code: number | null
  readonly text: string
  /** `/proc/<pid>/cmdline` of the process, as often as it could be read. */
  readonly argv: string
}

/** The real program; everything that it prints, and everything that its arguments showed while it ran. */
async function cli(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...args], { cwd: checkout, env })
  let [text, argv] = ['', '']
  const readArguments = async () => {
    argv += await readFile(`/proc/${child.pid}/cmdline`, 'utf8').catch(() => '')
  }
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      text += String(chunk)
      void readArguments()
    })
  }
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { code, text, argv }
}

/** The key in every form in which it could leak. */
function forms(hex: string): readonly Buffer[] {
  const raw = Buffer.from(hex, 'hex')
  const base64 = raw.toString('base64')
  const texts = [hex, hex.toUpperCase(), base64, raw.toString('base64url'), [...raw].join(', '), [...raw].join(',')]
  return [raw, ...texts.map((text) => Buffer.from(text))]
}

async function expectNoKey(run: string, ended: Ended, ...numbers: number[]): Promise<void> {
  const written = Buffer.concat([await allBytes(run), Buffer.from(ended.text), Buffer.from(ended.argv)])
  for (const form of numbers.flatMap((number) => forms(secretHex(number)))) expect(written.includes(form)).toBe(false)
}

async function configIn(run: string, auth: object): Promise<string> {
  const config = trainingConfig(dir, { name: 'unused', ranks: 1 })
  const file = path.join(run, 'draftbridge.yaml')
  const store = { ...config.store, root: path.join(run, 'store'), auth }
  const text = stringify({ ...config, run: { ...config.run, dir: path.join(run, 'run') }, store })
  await writeFile(file, text.replaceAll(config.manifest, path.join(run, 'manifest')))
  return file
}

const { DRAFTBRIDGE_STORE_KEY: _, ...plainEnv } = process.env

describe('the key of a store is nowhere in what the program writes, prints or is started with', () => {
  it.each([
    ['mac', 'file'],
    ['seal', 'environment'],
  ])('%s, from the %s: after a whole ingest', async (mode, source) => {
    const run = await tempDir()
    const given = source === 'file' ? await keyFile(1) : null
    const config = await configIn(run, { mode, keyFile: given })
    const env = source === 'file' ? plainEnv : { ...plainEnv, DRAFTBRIDGE_STORE_KEY: secretHex(1) }
    const ended = await cli(['ingest', '-c', config, '--verbose'], env)
    expect([ended.code, ended.text]).toEqual([0, expect.stringContaining('3')])
    expect(ended.argv).toContain('ingest')
    await expectNoKey(run, ended, 1)
    const manifest = JSON.parse(await readFile(path.join(run, 'manifest', 'manifest.json'), 'utf8'))
    expect(manifest.mac).toMatch(/^hmac_sha256:/)
    expect(await readdir(path.join(run, 'run'))).toContain('config.resolved.yaml')
    const resolved = await readFile(path.join(run, 'run', 'config.resolved.yaml'), 'utf8')
    expect(resolved).toContain(`keyFile: ${given}`)
  })

  it('nor in the errors for a wrong key, two keys, a missing key, and a key file that others may read', async () => {
    const run = await tempDir()
    const config = await configIn(run, { mode: 'mac', keyFile: await keyFile(1) })
    expect((await cli(['ingest', '-c', config, '-q'], plainEnv)).code).toBe(0)
    const wrong = await configIn(run, { mode: 'mac', keyFile: await keyFile(2) })
    const wrongKey = await cli(['ingest', '-c', wrong, '--verbose'], plainEnv)
    expect([wrongKey.code, wrongKey.text]).toEqual([77, expect.stringContaining('not the key of the store')])
    const both = await cli(['ingest', '-c', wrong, '-v'], { ...plainEnv, DRAFTBRIDGE_STORE_KEY: secretHex(1) })
    expect([both.code, both.text]).toEqual([64, expect.stringContaining('two different store keys')])
    const none = await cli(['ingest', '-c', await configIn(run, { mode: 'none' }), '-v'], plainEnv)
    expect([none.code, none.text]).toEqual([77, expect.stringContaining('protected by a key')])
    const open = await keyFile(1)
    await chmod(open, 0o644)
    const readable = await cli(['ingest', '-c', await configIn(run, { mode: 'mac', keyFile: open }), '-v'], plainEnv)
    expect([readable.code, readable.text]).toEqual([77, expect.stringContaining('mode 0644')])
    for (const ended of [wrongKey, both, none, readable]) await expectNoKey(run, ended, 1, 2)
  })
})

describe('a store.json that was replaced by one without a key', () => {
  it('is refused by every command that is given the key in the environment', async () => {
    const run = await tempDir()
    const env = { ...plainEnv, DRAFTBRIDGE_STORE_KEY: secretHex(1) }
    const keyed = await configIn(run, { mode: 'mac' })
    expect((await cli(['ingest', '-c', keyed, '-q'], env)).code).toBe(0)
    const [root, manifest] = [path.join(run, 'store'), path.join(run, 'manifest')]
    const about = JSON.parse(await readFile(path.join(root, 'store.json'), 'utf8'))
    await writeFile(path.join(root, 'store.json'), JSON.stringify({ ...about, auth: { mode: 'none' } }))
    const store = ['--store', root]
    const [newKey, unkeyed] = [await keyFile(2), path.join(run, 'unkeyed.yaml')]
    await writeFile(unkeyed, (await readFile(keyed, 'utf8')).replace('mode: mac', 'mode: none'))
    const commands = [
      ...['ls', 'verify', 'gc'].map((name) => ['store', name, ...store]),
      ['store', 'rm', 'demo', '--yes', ...store],
      ['store', 'rekey', '--new-key-file', newKey, ...store],
      ['manifest', 'verify', manifest, ...store],
      ...[keyed, unkeyed].flatMap((config) => ['ingest', 'train'].map((name) => [name, '-c', config, '-q'])),
    ]
    for (const command of commands) expect([command, (await cli(command, env)).code]).toEqual([command, 77])
  })
})
