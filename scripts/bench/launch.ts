// From a command to its first finished optimiser step: `draftbridge train` against torchrun with the same model, in turns.
// Usage: npm run bench:launch [-- --shape qwen|small] [--dir DIR] [--ranks N] [--turns N]
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import { buildPayload } from '../../src/roles/train/assemble.ts'
import { dataOf, prepareRun } from '../../src/roles/train/prepare-run.ts'

const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'small' },
    dir: { type: 'string', default: tmpdir() },
    ranks: { type: 'string', default: '1' },
    turns: { type: 'string', default: '3' },
  },
})
const venv = process.env['DRAFTBRIDGE_VENV'] ?? path.join(checkout, '.venv')
const python = path.join(venv, 'bin/python')
await mkdir(values.dir, { recursive: true })
const dir = await mkdtemp(path.join(values.dir, 'draftbridge-launch-'))
const file = path.join(dir, 'draftbridge.yaml')
const features = path.join(dir, 'features-2048-1')
const run = path.join(dir, 'run')

function cli(...args: string[]): void {
  const main = path.join(checkout, 'src/cli/main.ts')
  const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit']
  execFileSync(process.execPath, ['--import', 'tsx', main, ...args], { cwd: checkout, stdio })
}

async function prepare(): Promise<void> {
  const script = path.join(checkout, 'scripts/bench/make_train_case.py')
  execFileSync(python, [script, dir, String(2 * Number(values.ranks)), '2048', '1', values.shape])
  const config = {
    version: 1,
    run: { id: 'launch', dir: run },
    target: { model: path.join(dir, 'target') },
    features: { source: 'files', files: path.join(features, '*.ckpt'), link: 'copy' },
    store: { kind: 'shared-dir', root: path.join(dir, 'store'), durability: 'fast' },
    manifest: path.join(dir, 'store/manifest'),
    draft: { vocabSize: values.shape === 'qwen' ? 16000 : 1000 },
    train: { epochs: 1, maxSteps: 1, logInterval: 1 },
    launch: { ranksPerNode: Number(values.ranks) },
  }
  await writeFile(file, stringify(config))
  cli('ingest', '-c', file, '--quiet')
}

/** Seconds until the first step was done, and its loss. */
async function ours(): Promise<readonly [number, number]> {
  await rm(run, { recursive: true, force: true })
  const begun = Date.now()
  cli('train', '-c', file, '--quiet')
  const lines = (await readFile(path.join(run, 'events.ndjson'), 'utf8')).trim().split('\n')
  const events = lines.map((line) => JSON.parse(line) as { event: string; ts: number; loss: number })
  const first = events.find(({ event }) => event === 'train.metrics')
  if (first === undefined) throw new Error('no step was logged')
  return [(first.ts - begun) / 1000, first.loss]
}

async function theirs(): Promise<readonly [number, number]> {
  const config = await loadConfig({ file, env: process.env, sets: [] })
  const data = dataOf(await readRefManifest({ dir: config.manifest }))
  const prepared = await prepareRun({ ...config, run: { ...config.run, dir: path.join(dir, 'none') } }, data, {
    rank: 0,
    worldSize: Number(values.ranks),
  })
  const payload = path.join(dir, 'payload.json')
  await writeFile(payload, JSON.stringify(buildPayload(config, data, prepared)))
  const [sample = ''] = (await readdir(features)).sort()
  const begun = Date.now()
  const torchrun = ['-m', 'torch.distributed.run', '--nproc-per-node', values.ranks]
  const script = path.join(checkout, 'scripts/bench/first_step.py')
  const args = [...torchrun, script, payload, path.join(features, sample)]
  // torchrun would leave each rank one thread; ours share the cores.
  const threads = Math.max(1, Math.floor(availableParallelism() / Number(values.ranks)))
  const env = { ...process.env, OMP_NUM_THREADS: String(threads) }
  const out = execFileSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env })
  const { at, loss } = JSON.parse(out.trim().split('\n').at(-1) ?? '') as { at: number; loss: number }
  return [(at - begun) / 1000, loss]
}

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0

try {
  await prepare()
  const found = { ours: [] as number[], torchrun: [] as number[] }
  // The first turn fills the page cache and the compile cache.
  for (let turn = -1; turn < Number(values.turns); turn += 1) {
    const [mine, loss] = await ours()
    const [other, theirLoss] = await theirs()
    if (turn < 0) process.stdout.write(`cold: draftbridge ${mine.toFixed(2)} s, then torchrun ${other.toFixed(2)} s\n`)
    else {
      found.ours.push(mine)
      found.torchrun.push(other)
      process.stdout.write(
        `turn ${turn}: draftbridge ${mine.toFixed(2)} s (loss ${loss.toFixed(3)}), torchrun ${other.toFixed(2)} s (loss ${theirLoss.toFixed(3)})\n`,
      )
    }
  }
  const difference = median(found.ours) - median(found.torchrun)
  process.stdout.write(
    `medians: draftbridge ${median(found.ours).toFixed(2)} s, torchrun ${median(found.torchrun).toFixed(2)} s: ${difference.toFixed(2)} s over it (figure: <= 1 s)\n`,
  )
} finally {
  await rm(dir, { recursive: true, force: true })
}
