import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { stringify } from 'yaml'
import { draftbridge } from '../support/cli.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainingConfig, trainingInputs } from '../support/training.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

async function scene() {
  const dir = await tempDir()
  await trainingInputs(dir)
  const config = trainingConfig(dir, { name: 'run', ranks: 1, epochs: 2 })
  const file = path.join(dir, 'draftbridge.yaml')
  await writeFile(file, stringify(config))
  expect(await draftbridge('ingest', '-c', file)).toMatchObject({ code: 0 })
  return { file, checkpoints: path.join(config.run.dir, 'checkpoints') }
}

const program = (...args: string[]) => ['--import', 'tsx', 'src/cli/main.ts', ...args]
const namesIn = (folder: string) => (existsSync(folder) ? readdirSync(folder) : [])

it('a training goes on to its end when the reader of its events goes away', { timeout: 120_000 }, async () => {
  const { file, checkpoints } = await scene()
  const args = program('train', '-c', file, '--json-lines')
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe'] })
  // Both readers go: `2>&1 | head -1`.
  for (const stream of [child.stdout, child.stderr]) stream.once('data', () => stream.destroy())
  const [code] = await once(child, 'exit')
  expect(code).toBe(0)
  expect(namesIn(checkpoints)).not.toEqual([])
})

it('a training whose output meets a full disk goes on, and says that its events are lost', {
  timeout: 120_000,
}, async () => {
  const { file, checkpoints } = await scene()
  await using full = await open('/dev/full', 'w')
  const args = program('train', '-c', file, '--json-lines')
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', full.fd, 'pipe'] })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const [code] = await once(child, 'close')
  expect(said).toContain('standard output cannot be written (ENOSPC')
  expect(code).toBe(70)
  expect(namesIn(checkpoints)).not.toEqual([])
})

it('a training needs no open stream, no home and no language', { timeout: 120_000 }, async () => {
  const { file, checkpoints } = await scene()
  const bare = ['env', '-u', 'HOME', '-u', 'LANG', 'LC_ALL=C', 'COLUMNS=20', 'TERM=dumb', process.execPath]
  const command = [...bare, ...program('train', '-c', file)].map((word) => `'${word}'`).join(' ')
  const child = spawn('sh', ['-c', `exec ${command} <&- >&- 2>&-`], { cwd: checkout, stdio: 'ignore' })
  const [code] = await once(child, 'exit')
  expect(code).toBe(0)
  expect(namesIn(checkpoints)).not.toEqual([])
})
