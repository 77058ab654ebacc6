// What a checkpoint costs the training loop: Node-hosted ranks train a draft with saves and without.
// Usage: node --import tsx scripts/bench/checkpoint.ts [HIDDEN [RANKS [STEPS [EVERY]]]]   (768, 1, 41, 8)
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { RunConfig } from '../../src/config/schema.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { watched } from '../../test/support/training.ts'

const [hidden = 768, ranks = 1, steps = 41, every = 8] = process.argv.slice(2).map(Number)
const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-bench-'))

function configOf(name: string, saves: number): RunConfig {
  return RunConfig.parse({
    version: 1,
    run: { id: 'bench', dir: path.join(dir, name) },
    target: { model: path.join(dir, 'target'), dtype: 'float32' },
    features: { source: 'files', files: path.join(dir, 'features') },
    store: { kind: 'shared-dir', root: path.join(dir, 'store'), retain: true, durability: 'fast' },
    manifest: path.join(dir, 'manifest'),
    draft: { vocabSize: 320 },
    train: {
      epochs: 1000,
      maxSteps: steps,
      batch: { samples: 2 / ranks },
      precision: 'fp32',
      ttt: { steps: 3 },
      logInterval: 1,
      save: { every: saves, keep: 2 },
    },
    launch: { ranksPerNode: ranks },
  })
}

interface Run {
  /** When the metrics of each step came, by step. */
  readonly at: ReadonlyMap<number, number>
  /** When each checkpoint was complete, by its step. */
  readonly complete: ReadonlyMap<number, number>
  readonly checkpoint: string
}

async function train(name: string, saves: number): Promise<Run> {
  const at = new Map<number, number>()
  const complete = new Map<number, number>()
  // What an earlier run left to be written would be paid by this one.
  execFileSync('sync')
  const context = watched((body) => {
    if (body.event === 'train.metrics') at.set(body.step, performance.now())
    if (body.event === 'train.checkpoint') complete.set(body.step, performance.now())
  })
  const { checkpoint } = await consume(configOf(name, saves), context)
  return { at, complete, checkpoint }
}

/** Milliseconds from the metrics of step `from` to those of the next. */
const stepAfter = ({ at }: Run, from: number): number => (at.get(from + 1) ?? Number.NaN) - (at.get(from) ?? Number.NaN)
const range = (from: number, to: number): readonly number[] => Array.from({ length: to - from }, (_, at) => from + at)
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const ms = (value: number): string => `${value.toFixed(0)} ms`.padStart(9)
const line = (name: string, values: readonly number[]): string =>
  `${name.padEnd(38)}${ms(median(values))}${ms(Math.max(...values))}   (${values.length})\n`

async function bytesIn(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(path.join(folder, name))).size)
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

async function measure(): Promise<void> {
  const script = (name: string, ...args: string[]) =>
    execFileSync('.venv/bin/python', [path.join('test/support', name), ...args, '--hidden', String(hidden)])
  script('make_tiny_target.py', path.join(dir, 'target'))
  script('make_features.py', path.join(dir, 'features'), '--count', '24')
  await produce(configOf('producer', steps), watched())
  const plain = await train('without', 1_000_000)
  const saving = await train('with', every)
  // The first steps fill caches, and after the last there is none.
  const counted = range(2, steps)
  const saved = counted.filter((step) => step % every === 0)
  const whileWritten = counted.filter((step) =>
    saved.some((save) => step > save && (saving.at.get(step) ?? 0) < (saving.complete.get(save) ?? 0)),
  )
  const figures: readonly (readonly [string, readonly number[]])[] = [
    ['step, no saves in the run', counted.map((step) => stepAfter(plain, step))],
    ['step that follows a save', saved.map((step) => stepAfter(saving, step))],
    ['later step, save being written', whileWritten.map((step) => stepAfter(saving, step))],
    ['save due until complete', saved.map((step) => (saving.complete.get(step) ?? 0) - (saving.at.get(step) ?? 0))],
  ]
  const size = (await bytesIn(saving.checkpoint)) / 1e6
  process.stdout.write(
    `hidden ${hidden}, ${ranks} rank(s), checkpoint of ${size.toFixed(0)} MB${' '.repeat(8)}median  longest\n`,
  )
  for (const [name, values] of figures) if (values.length > 0) process.stdout.write(line(name, values))
}

try {
  await measure()
} finally {
  await rm(dir, { recursive: true, force: true })
}
