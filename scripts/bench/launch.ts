// Seconds from a command to its first finished optimiser step: `draftbridge train` against torchrun with the same model, in turns.
// Usage: npm run bench:launch [-- --shape qwen|small] [--dir DIR] [--ranks N] [--turns N] [--record [--name NAME]]
import { execFileSync } from 'node:child_process'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { loadConfig } from '../../src/config/load.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import { buildPayload } from '../../src/roles/train/assemble.ts'
import { dataOf, prepareRun } from '../../src/roles/train/prepare-run.ts'
import { checkout, venvPython } from '../results/checkout.ts'
import { Recorder } from '../results/recorder.ts'
import { scratchFolder } from './scratch-folder.ts'
import { median } from './statistics.ts'
import { caseOptions, draftbridge, eventsNamed, featuresOf, prepareTrainCase, SHAPES } from './train-case.ts'

const { values } = parseArgs({ options: { ...caseOptions, turns: { type: 'string', default: '3' } } })
const shape = z.enum(SHAPES).parse(values.shape)
const ranks = Number(values.ranks)
await using scratch = await scratchFolder(values.dir)
const { dir } = scratch
const run = path.join(dir, 'run')
const size = { length: 2048, live: 1 }
const train = { epochs: 1, maxSteps: 1, logInterval: 1 }
const file = await prepareTrainCase({ dir, shape, samples: 2 * ranks, ...size, ranks, train })

interface FirstStep {
  readonly seconds: number
  readonly loss: number
}

async function draftbridgeFirstStep(): Promise<FirstStep> {
  await rm(run, { recursive: true, force: true })
  const begun = Date.now()
  draftbridge('train', '-c', file, '--quiet')
  const [first] = await eventsNamed(run, 'train.metrics')
  if (first === undefined) throw new Error('no step was logged')
  return { seconds: (first.ts - begun) / 1000, loss: first.loss ?? Number.NaN }
}

const Printed = z.object({ at: z.number(), loss: z.number() })

async function torchrunFirstStep(): Promise<FirstStep> {
  const config = await loadConfig({ file, env: process.env, sets: [] })
  const data = dataOf(await readRefManifest({ dir: config.manifest }))
  const unused = { ...config, run: { ...config.run, dir: path.join(dir, 'none') } }
  const prepared = await prepareRun(unused, data, { rank: 0, worldSize: ranks })
  const payload = path.join(dir, 'payload.json')
  await writeFile(payload, JSON.stringify(buildPayload(config, data, prepared)))
  const features = featuresOf(dir, size)
  const [sample = ''] = (await readdir(features)).sort()
  const script = path.join(checkout, 'scripts/bench/first_step.py')
  const args = ['-m', 'torch.distributed.run', '--nproc-per-node', String(ranks), script, payload]
  // torchrun would leave each rank one thread; our ranks share the cores.
  const threads = Math.max(1, Math.floor(availableParallelism() / ranks))
  const env = { ...process.env, OMP_NUM_THREADS: String(threads) }
  const begun = Date.now()
  const out = execFileSync(venvPython(), [...args, path.join(features, sample)], {
    encoding: 'utf8',
    stdio: 'pipe',
    env,
  })
  const { at, loss } = Printed.parse(JSON.parse(out.trim().split('\n').at(-1) ?? ''))
  return { seconds: (at - begun) / 1000, loss }
}

const seconds = (value: number): string => `${value.toFixed(2)} s`
const recorder = new Recorder({ title: 'From a command to its first step', ...values, name: values.name ?? 'launch' })
const columns = ['turn', 'draftbridge', 'torchrun', 'difference', 'losses']
const table = recorder.table(`Draft of shape ${shape}, ${ranks} rank(s)`, columns)
const found: { readonly draftbridge: number; readonly torchrun: number }[] = []
// The first turn fills the page cache and the compile cache.
for (let turn = 0; turn <= Number(values.turns); turn += 1) {
  const [ours, other] = [await draftbridgeFirstStep(), await torchrunFirstStep()]
  const losses = `${ours.loss.toFixed(3)}, ${other.loss.toFixed(3)}`
  const name = turn === 0 ? 'cold' : `warm ${turn}`
  table.row(name, seconds(ours.seconds), seconds(other.seconds), seconds(ours.seconds - other.seconds), losses)
  if (turn > 0) found.push({ draftbridge: ours.seconds, torchrun: other.seconds })
}
const [ours, other] = [median(found.map((turn) => turn.draftbridge)), median(found.map((turn) => turn.torchrun))]
table.row('median of the warm turns', seconds(ours), seconds(other), seconds(ours - other), '')
await recorder.write()
