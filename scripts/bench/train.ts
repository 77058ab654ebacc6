// Training through the whole path: feature files -> ingest -> store -> loader -> ranks hosted by Node. One row for each case.
// Usage: npm run bench:train [-- --shape qwen|small] [--dir DIR] [--steps N] [--peak TFLOPS] [--record [--name NAME]] [CASE…]
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { scratchFolder } from './scratch-folder.ts'
import { median } from './statistics.ts'
import { draftbridge, eventsNamed, featuresOf, prepareTrainCase, SHAPES } from './train-case.ts'
import { DRAFT_SHAPES, floorTokensPerSecond } from './train-floor.ts'

interface Case {
  readonly length: number
  readonly live: number
  /** Of one rank's micro-step. */
  readonly samples: number
  readonly ranks?: number
  readonly sets?: readonly string[]
}

const CASES: Readonly<Record<string, Case>> = {
  'all live, 4 x 2048': { length: 2048, live: 1, samples: 4 },
  'half live, 4 x 2048': { length: 2048, live: 0.5, samples: 4 },
  'all live, 1 x 2048': { length: 2048, live: 1, samples: 1 },
  'all live, 2 x 4096': { length: 4096, live: 1, samples: 2 },
  'all live, 1 x 8192': { length: 8192, live: 1, samples: 1 },
  'half live, all rows': { length: 2048, live: 0.5, samples: 4, sets: ['train.compact=false'] },
  'plain, 1 x 2048': { length: 2048, live: 1, samples: 1, sets: ['train.unroll=plain'] },
  '2 ranks, 4 x 2048': { length: 2048, live: 1, samples: 4, ranks: 2 },
  '2 ranks, replicate': { length: 2048, live: 1, samples: 4, ranks: 2, sets: ['train.parallel=replicate'] },
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...recordOptions,
    shape: { type: 'string', default: 'qwen' },
    dir: { type: 'string', default: tmpdir() },
    steps: { type: 'string', default: '30' },
    peak: { type: 'string', default: '790' },
  },
})
const shape = z.enum(SHAPES).parse(values.shape)
const steps = Number(values.steps)
await using scratch = await scratchFolder(values.dir)
const { dir } = scratch

/** The config of a case. Cases that read the same features share a store. */
async function prepared({ length, live }: Case): Promise<string> {
  const file = path.join(dir, `${length}-${live}.yaml`)
  if (existsSync(file)) return file
  // Few enough samples that the page cache holds them.
  const samples = length > 2048 ? 8 : 16
  const train = { epochs: 1000, maxSteps: steps, logInterval: 5, save: { every: 1_000_000, keep: 1 } }
  await prepareTrainCase({ dir, shape, samples, length, live, ranks: 1, train })
  await rm(featuresOf(dir, { length, live }), { recursive: true })
  return file
}

async function measure(name: string, one: Case): Promise<readonly string[]> {
  const file = await prepared(one)
  const run = path.join(dir, 'run')
  await rm(run, { recursive: true, force: true })
  const { length, samples, ranks = 1 } = one
  const sets = [`train.batch.samples=${samples}`, `launch.ranksPerNode=${ranks}`, ...(one.sets ?? [])]
  const seconds = draftbridge('train', '-c', file, '--quiet', ...sets.flatMap((set) => ['--set', set]))
  const logged = await eventsNamed(run, 'train.metrics')
  requireEqualFirstLoss(name, one, logged[0]?.loss ?? Number.NaN)
  // The first two logs hold compilation and warm-up.
  const late = logged.slice(2)
  const builds = late.reduce((sum, { kernelBuilds }) => sum + kernelBuilds, 0)
  if (builds > 0) throw new Error(`${name}: ${builds} kernels were compiled or loaded after the warm-up`)
  const rate = median(late.map(({ tokensPerSecond }) => tokensPerSecond))
  const floor = ranks * floorTokensPerSecond(DRAFT_SHAPES[shape], one, Number(values.peak))
  const memory = (await eventsNamed(run, 'train.memory')).at(-1)
  return [
    name,
    rate.toFixed(0),
    ((1000 * samples * length * ranks) / rate).toFixed(1),
    median(late.map(({ tflops }) => tflops ?? Number.NaN)).toFixed(0),
    `${((100 * rate) / floor).toFixed(1)} %`,
    `${(100 * Math.max(...late.map(({ dataWaitShare }) => dataWaitShare))).toFixed(2)} %`,
    ((memory?.memory.reserved ?? memory?.memory.host ?? Number.NaN) / 2 ** 30).toFixed(1),
    logged.at(-1)?.loss?.toFixed(4) ?? '',
    seconds.toFixed(0),
  ]
}

const firstLosses = new Map<string, number>()

/** Cases that train on the same rows begin with the same loss, so that no figure comes from skipped work. */
function requireEqualFirstLoss(name: string, { length, live, samples, ranks = 1 }: Case, loss: number): void {
  const rows = `${length}, ${live}, ${samples * ranks}`
  const known = firstLosses.get(rows) ?? loss
  firstLosses.set(rows, known)
  if (!(Math.abs(loss - known) <= 5e-3 * known)) throw new Error(`${name}: a first loss of ${loss}, elsewhere ${known}`)
}

const recorder = new Recorder({ title: 'Training through the whole path', ...values, name: values.name ?? 'train' })
const table = recorder.table(`Draft of shape ${shape}, ${steps} steps; of floor: of ${values.peak} TFLOP/s`, [
  'case',
  'tokens/s',
  'ms/step',
  'TFLOP/s',
  'of floor',
  'worst data wait',
  'GiB',
  'last loss',
  'seconds in all',
])
for (const name of positionals.length > 0 ? positionals : Object.keys(CASES)) {
  const one = CASES[name]
  if (one === undefined) throw new Error(`no case "${name}": ${Object.keys(CASES).join(' | ')}`)
  table.row(...(await measure(name, one)))
}
recorder.note(
  'tokens/s, ms/step and TFLOP/s are medians of the log lines after the first 10 steps. GiB is what the CUDA allocator reserved at most.',
)
await recorder.write()
