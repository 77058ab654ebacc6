// A run that is stopped and goes on, against one that is not: how far apart the losses are, step by step. On a CPU: not at all.
// Usage: node --import tsx scripts/bench/resume.ts [--shape qwen|small] [--dir DIR] [--ranks N] [--steps N]
import { execFileSync, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'

const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'small' },
    dir: { type: 'string', default: tmpdir() },
    ranks: { type: 'string', default: '1' },
    steps: { type: 'string', default: '12' },
  },
})
const python = path.join(process.env['DRAFTBRIDGE_VENV'] ?? path.join(checkout, '.venv'), 'bin/python')
await mkdir(values.dir, { recursive: true })
const dir = await mkdtemp(path.join(values.dir, 'draftbridge-resume-'))
const file = path.join(dir, 'draftbridge.yaml')
const main = ['--import', 'tsx', path.join(checkout, 'src/cli/main.ts')]

async function prepare(): Promise<void> {
  execFileSync(python, [path.join(checkout, 'scripts/bench/make_train_case.py'), dir, '8', '512', '0.5', values.shape])
  const config = {
    version: 1,
    run: { id: 'resume', dir: path.join(dir, 'run') },
    target: { model: path.join(dir, 'target') },
    features: { source: 'files', files: path.join(dir, 'features-512-0.5/*.ckpt') },
    store: { kind: 'shared-dir', root: path.join(dir, 'store'), durability: 'fast' },
    manifest: path.join(dir, 'store/manifest'),
    draft: { vocabSize: values.shape === 'qwen' ? 16000 : 1000 },
    train: { epochs: 100, maxSteps: Number(values.steps), logInterval: 1, save: { every: 3, keep: 2 } },
    launch: { ranksPerNode: Number(values.ranks) },
  }
  await writeFile(file, stringify(config))
  execFileSync(process.execPath, [...main, 'ingest', '-c', file, '--quiet'], { cwd: checkout })
}

/** Trains into `name`; with `kill`, until the first checkpoint is there, and then all of it is killed. */
async function train(name: string, kill = false): Promise<void> {
  const args = ['train', '-c', file, '--json-lines', '--set', `run.dir=${path.join(dir, name)}`]
  const child = spawn(process.execPath, [...main, ...args], {
    cwd: checkout,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const done = new Promise<number | null>((resolve) => child.on('close', resolve))
  for await (const line of createInterface({ input: child.stdout })) {
    const { event } = JSON.parse(line) as { event: string }
    if (kill && event === 'train.checkpoint' && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  }
  const status = await done
  if (status !== 0 && !kill) throw new Error(`train ended with ${status}`)
}

/** The last loss that was said of each step. */
async function losses(name: string): Promise<Map<number, number>> {
  const lines = (await readFile(path.join(dir, name, 'events.ndjson'), 'utf8')).trim().split('\n')
  const events = lines.map((line) => JSON.parse(line) as { event: string; step: number; loss: number })
  return new Map(events.filter(({ event }) => event === 'train.metrics').map(({ step, loss }) => [step, loss]))
}

try {
  await prepare()
  await train('straight')
  await train('broken', true)
  const before = Math.max(...(await losses('broken')).keys())
  await train('broken')
  const [straight, resumed] = [await losses('straight'), await losses('broken')]
  let worst = 0
  for (const [step, loss] of straight) {
    const other = resumed.get(step) ?? Number.NaN
    worst = Math.max(worst, Math.abs(other - loss) / Math.abs(loss))
    process.stdout.write(`step ${String(step).padStart(3)}  ${loss.toFixed(7)}  ${other.toFixed(7)}\n`)
  }
  process.stdout.write(`killed at step ${before}; largest relative difference ${worst.toExponential(1)}\n`)
} finally {
  await rm(dir, { recursive: true, force: true })
}
