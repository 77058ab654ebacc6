import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { stringify } from 'yaml'
import { draftbridge } from '../support/cli.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainingConfig, trainingInputs } from '../support/training.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

it('a training goes on to its end when the reader of its events goes away', { timeout: 120_000 }, async () => {
  const dir = await tempDir()
  await trainingInputs(dir)
  const config = trainingConfig(dir, { name: 'run', ranks: 1, epochs: 2 })
  const file = path.join(dir, 'draftbridge.yaml')
  await writeFile(file, stringify(config))
  expect(await draftbridge('ingest', '-c', file)).toMatchObject({ code: 0 })
  const args = ['--import', 'tsx', 'src/cli/main.ts', 'train', '-c', file, '--json-lines']
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe'] })
  // Both readers go: `2>&1 | head -1`.
  for (const stream of [child.stdout, child.stderr]) stream.once('data', () => stream.destroy())
  const [code] = await once(child, 'exit')
  expect(code).toBe(0)
  const checkpoints = path.join(config.run.dir, 'checkpoints')
  expect(existsSync(checkpoints) ? readdirSync(checkpoints) : []).not.toEqual([])
})
