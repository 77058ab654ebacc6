// What a checkpoint costs the training loop: Node-hosted ranks train a draft with saves and without.
// Usage: npm run bench:checkpoint [-- --hidden 768] [--ranks 1] [--steps 41] [--every 8] [--record [--name NAME]]
import { execFileSync } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { RunConfig } from '../../src/config/schema.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { watched } from '../../test/support/training.ts'
import { checkout, venvPython } from '../results/checkout.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { scratchFolder } from './scratch-folder.ts'
import { median } from './statistics.ts'

const { values } = parseArgs({
  options: {
    ...recordOptions,
    hidden: { type: 'string', default: '768' },
    ranks: { type: 'string', default: '1' },
    steps: { type: 'string', default: '41' },
    every: { type: 'string', default: '8' },
  },
})
const [ranks, steps, every] = [Number(values.ranks), Number(values.steps), Number(values.every)]
await using scratch = await scratchFolder(tmpdir())
const { dir } = scratch

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
  // Writes that an earlier run left pending would slow this one down.
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
const ms = (value: number): string => `${value.toFixed(0)} ms`

async function bytesIn(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(path.join(folder, name))).size)
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

async function measure(): Promise<void> {
  const make = (name: string, ...args: string[]) =>
    execFileSync(venvPython(), [path.join(checkout, 'test/support', name), ...args, '--hidden', values.hidden])
  make('make_tiny_target.py', path.join(dir, 'target'))
  make('make_features.py', path.join(dir, 'features'), '--count', '24')
  await produce(configOf('producer', steps), watched())
  const plain = await train('without', 1_000_000)
  const saving = await train('with', every)
  // The first steps fill caches, and the last step has no step after it.
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
  const size = ((await bytesIn(saving.checkpoint)) / 1e6).toFixed(0)
  const recorder = new Recorder({ title: 'What a checkpoint costs', ...values, name: values.name ?? 'checkpoint' })
  const title = `hidden ${values.hidden}, ${ranks} rank(s), checkpoint of ${size} MB`
  const table = recorder.table(title, ['', 'median', 'longest', 'count'])
  for (const [name, times] of figures) {
    if (times.length > 0) table.row(name, ms(median(times)), ms(Math.max(...times)), String(times.length))
  }
  await recorder.write()
}

await measure()
