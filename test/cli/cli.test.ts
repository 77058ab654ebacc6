import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeNewFile } from '../../src/cli/new-config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { errorCodes } from '../../src/core/errors.ts'
import { draftbridge } from '../support/cli.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-cli-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true })
})

describe('help', () => {
  it('begins with examples and lists the commands of this release, no others', async () => {
    const { code, stdout } = await draftbridge('--help')
    expect(code).toBe(0)
    expect(stdout.startsWith('Examples:\n  $ draftbridge init')).toBe(true)
    const listed = [...stdout.matchAll(/^ {2}([a-z]+) .*$/gm)].map(([, name]) => name)
    const commands = [
      'init',
      'doctor',
      'generate',
      'capture',
      'ingest',
      'train',
      'run',
      'rank',
      'launch',
      'eval',
      'manifest',
      'store',
      'explain',
      'schema',
      'help',
    ]
    expect(listed).toEqual(commands)
  })

  it('begins with examples for a command, too', async () => {
    const { code, stdout } = await draftbridge('eval', '--help')
    expect(code).toBe(0)
    expect(stdout.startsWith('Examples:\n  $ draftbridge eval --draft')).toBe(true)
    for (const flag of ['--json', '--json-lines', '--quiet', '--verbose', '--config', '--set', '--draft']) {
      expect(stdout).toContain(flag)
    }
  })
})

describe('examples', () => {
  it('are lines that can be typed', async () => {
    const { stdout } = await draftbridge('store', 'rekey', '--help')
    expect(stdout.match(/^ {2}\$ .*$/gm)).toHaveLength(1)
    expect(stdout).toContain('To make a new key: (umask 077; openssl rand -hex 32 > new.key)')
  })
})

describe('bad usage', () => {
  it('exits 2 and names the command or flag that was meant', async () => {
    const [command, flag, missing, both] = await Promise.all([
      draftbridge('trian'),
      draftbridge('train', '--confg', 'x'),
      draftbridge('eval'),
      draftbridge('train', '--json', '--json-lines'),
    ])
    expect([command.code, flag.code, missing.code, both.code]).toEqual([2, 2, 2, 2])
    expect(command.stderr).toContain("unknown command 'trian'\n(Did you mean train?)")
    expect(flag.stderr).toContain('Did you mean --config?')
    expect(missing.stderr).toContain('--draft <dir>')
    expect(both.stderr).toContain('cannot be used with')
  })
})

describe('errors', () => {
  it('name code, file and fix on stderr, exit by the table, and show no stack unless asked', async () => {
    const file = path.join(folder, 'none.yaml')
    const [plain, verbose] = await Promise.all([
      draftbridge('train', '-c', file),
      draftbridge('train', '-c', file, '--verbose'),
    ])
    expect(plain).toMatchObject({ code: 64, stdout: '' })
    expect(plain.stderr).toContain(`draftbridge: CONFIG_INVALID: the config file does not exist\n  file:  ${file}`)
    expect(plain.stderr).toContain('draftbridge init')
    expect(plain.stderr).not.toMatch(/\n\s+at /)
    expect(verbose.code).toBe(64)
    expect(verbose.stderr).toMatch(/\n\s+at /)
    expect(verbose.stderr).toContain('caused by:')
  })

  it('list every problem of a config, with its line', async () => {
    const file = path.join(folder, 'bad.yaml')
    await writeFile(file, 'version: 1\ntarget: { model: m }\ntrain:\n  epoch: 3\n')
    const { code, stderr } = await draftbridge('train', '-c', file, '--set', 'train.accumulate=0')
    expect(code).toBe(64)
    expect(stderr).toContain(`${file}:4:3`)
    expect(stderr).toContain('did you mean train.epochs?')
    expect(stderr).toContain('--set train.accumulate=0')
  })

  it('say which role is missing or mistyped', async () => {
    const { code, stderr } = await draftbridge('run', '--role', 'consumr')
    expect(code).toBe(64)
    expect(stderr).toContain('did you mean consumer?')
  })
})

describe('init', () => {
  it('writes a config that loads, says the next command, and never writes over a file', async () => {
    const first = await draftbridge('init', folder)
    expect(first.code).toBe(0)
    expect(first.stderr).toContain('set target.model and data.conversations in it, then run')
    expect(first.stderr).toContain('doctor -c')
    const file = path.join(folder, 'draftbridge.yaml')
    const config = await loadConfig({ file, env: {} })
    expect(config.target.model).toBe(path.join(folder, 'path/to/model'))
    expect(config.run.id).toMatch(/-[0-9a-f]{8}$/)
    const before = await readFile(file, 'utf8')
    const second = await draftbridge('init', folder)
    expect(second.code).toBe(64)
    expect(second.stderr).toContain('init never overwrites')
    expect(await readFile(file, 'utf8')).toBe(before)
  })
})

it.each([
  ['my run (2)', /^my-run-2-[0-9a-f]{8}$/],
  ['.ü', /^run-[0-9a-f]{8}$/],
  ['x'.repeat(90), /^x{40}-[0-9a-f]{8}$/],
])('init names each run like its folder and unlike every other run: %s', async (name, pattern) => {
  const ids = await Promise.all(
    ['a', 'b'].map(async (above) => {
      const file = path.join(folder, above, name, 'draftbridge.yaml')
      await writeNewFile(file)
      return (await loadConfig({ file, env: {} })).run.id
    }),
  )
  for (const id of ids) expect(id).toMatch(pattern)
  expect(ids[0]).not.toBe(ids[1])
})

describe('explain', () => {
  it('gives cause, fix and exit of a code, and a line for each code without one', async () => {
    const [one, all, wrong] = await Promise.all([
      draftbridge('explain', 'sample_stale'),
      draftbridge('explain', '--json'),
      draftbridge('explain', 'SAMPLE_STAL'),
    ])
    expect(one).toMatchObject({ code: 0 })
    expect(one.stdout).toMatch(/cause: .+\n {2}fix: .+\n {2}exit: +66/)
    const listed: { code: string; cause: string; fix: string }[] = JSON.parse(all.stdout)
    expect(listed.map(({ code }) => code)).toEqual(errorCodes)
    expect(listed.every(({ cause, fix }) => cause.length > 20 && fix.length > 10)).toBe(true)
    expect(wrong.code).toBe(2)
    expect(wrong.stderr).toContain('Did you mean SAMPLE_STALE?')
  })
})

describe('schema', () => {
  it('prints a JSON Schema that describes the config', async () => {
    const { code, stdout } = await draftbridge('schema')
    expect(code).toBe(0)
    const schema = JSON.parse(stdout)
    expect(schema.$schema).toContain('json-schema.org')
    expect(schema.properties.train.properties.epochs).toMatchObject({ type: 'integer', default: 10 })
    expect(schema.required).toContain('target')
  })
})
