// Training through the whole path: feature files -> ingest -> store -> loader -> ranks hosted by Node. Prints one row for
// each case. Usage: npm run bench:train [-- --shape qwen|small] [--dir DIR] [--steps N] [CASE…]; without cases: all.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import { floorTokensPerSecond, type Recipe } from './train-floor.ts'

const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')

interface Case {
  readonly length: number
  readonly live: number
  readonly samples: number
  readonly ranks?: number
  readonly sets?: readonly string[]
}

/** Each is one line of the table. `samples`: of one rank's micro-step. */
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
const SHAPES: Readonly<Record<string, Recipe>> = {
  qwen: { hidden: 3584, inner: 18944, queryWidth: 3584, keyWidth: 512, vocabulary: 152064, draftVocabulary: 16000 },
  small: { hidden: 256, inner: 512, queryWidth: 256, keyWidth: 128, vocabulary: 4000, draftVocabulary: 1000 },
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    shape: { type: 'string', default: 'qwen' },
    dir: { type: 'string', default: tmpdir() },
    steps: { type: 'string', default: '30' },
    peak: { type: 'string', default: '790' },
  },
})
const recipe = SHAPES[values.shape]
if (recipe === undefined) throw new Error(`no shape ${values.shape}: ${Object.keys(SHAPES).join(', ')}`)
const steps = Number(values.steps)
const venv = process.env['DRAFTBRIDGE_VENV'] ?? path.join(checkout, '.venv')
await mkdir(values.dir, { recursive: true })
const dir = await mkdtemp(path.join(values.dir, 'draftbridge-train-'))

function cli(...args: string[]): number {
  const begun = performance.now()
  const main = path.join(checkout, 'src/cli/main.ts')
  execFileSync(process.execPath, ['--import', 'tsx', main, ...args], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return (performance.now() - begun) / 1000
}

/** The store of a case's features, made once for all cases that read it. */
async function prepare({ length, live }: Case, samples: number): Promise<string> {
  const name = `${length}-${live}`
  const file = path.join(dir, `${name}.yaml`)
  if (existsSync(file)) return file
  const script = path.join(checkout, 'scripts/bench/make_train_case.py')
  execFileSync(path.join(venv, 'bin/python'), [script, dir, `${samples}`, `${length}`, `${live}`, values.shape], {
    stdio: 'inherit',
  })
  const config = {
    version: 1,
    run: { id: `bench-${name}`.replace('.', '_'), dir: path.join(dir, 'run') },
    target: { model: path.join(dir, 'target') },
    data: { maxLength: length },
    features: { source: 'files', files: path.join(dir, `features-${name}`, '*.ckpt') },
    store: { kind: 'shared-dir', root: path.join(dir, `store-${name}`), durability: 'fast' },
    manifest: path.join(dir, `store-${name}`, 'manifest'),
    draft: { vocabSize: recipe?.draftVocabulary },
    train: { epochs: 1000, maxSteps: steps, logInterval: 5, save: { every: 1_000_000, keep: 1 } },
  }
  await writeFile(file, stringify(config))
  cli('ingest', '-c', file, '--quiet')
  await rm(path.join(dir, `features-${name}`), { recursive: true })
  return file
}

interface Logged {
  readonly event: string
  readonly step: number
  readonly tokensPerSecond: number
  readonly dataWaitShare: number
  readonly loss: number
}

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0

async function measure(name: string, one: Case): Promise<void> {
  // Few enough that the page cache holds them.
  const file = await prepare(one, one.length > 2048 ? 8 : 16)
  const run = path.join(dir, 'run')
  await rm(run, { recursive: true, force: true })
  const sets = [`train.batch.samples=${one.samples}`, `launch.ranksPerNode=${one.ranks ?? 1}`, ...(one.sets ?? [])]
  const seconds = cli('train', '-c', file, '--quiet', ...sets.flatMap((set) => ['--set', set]))
  const lines = (await readFile(path.join(run, 'events.ndjson'), 'utf8')).trim().split('\n')
  const logged = lines.map((line) => JSON.parse(line) as Logged).filter(({ event }) => event === 'train.metrics')
  // The first two logs hold compilation and warm-up.
  const late = logged.slice(2)
  const rate = median(late.map(({ tokensPerSecond }) => tokensPerSecond))
  const ranks = one.ranks ?? 1
  const floor = ranks * floorTokensPerSecond(recipe as Recipe, one, Number(values.peak))
  const row = [
    name.padEnd(22),
    `${rate.toFixed(0)}`.padStart(9),
    `${((1000 * one.samples * one.length * ranks) / rate).toFixed(1)}`.padStart(9),
    `${((100 * rate) / floor).toFixed(1)} %`.padStart(9),
    late
      .map(({ dataWaitShare }) => (100 * dataWaitShare).toFixed(2))
      .join(' ')
      .padStart(24),
    `${logged.at(-1)?.loss.toFixed(4)}`.padStart(9),
    `${seconds.toFixed(0)} s`.padStart(7),
  ]
  process.stdout.write(`${row.join('')}\n`)
}

try {
  process.stdout.write(`${'case'.padEnd(22)} tokens/s  ms/step  of floor       data wait, % of each      loss  whole\n`)
  for (const name of positionals.length > 0 ? positionals : Object.keys(CASES)) {
    const one = CASES[name]
    if (one === undefined) throw new Error(`no case "${name}": ${Object.keys(CASES).join(' | ')}`)
    await measure(name, one)
  }
} finally {
  await rm(dir, { recursive: true, force: true })
}
