/**
 * Colocated training against the same training by two nodes: the metrics of both, side by side.
 *
 *     node --import tsx scripts/bench/parity.ts [--shape qwen|small] [--steps 200] [--every 25] [--sets key=value …] [--record [--name NAME]]
 *
 * One node produces, two train with one rank each; all are processes of this machine, and with GPUs each node sees one of them.
 * The colocated run has two ranks. Exit status 1 when a metric differs by more than 1e-4 of its value.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { cp, rm } from 'node:fs/promises'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { checkout } from '../results/checkout.ts'
import { Recorder } from '../results/recorder.ts'
import { scratchFolder } from './scratch-folder.ts'
import { caseOptions, draftbridge, draftbridgeCommand, eventsNamed, prepareTrainCase, SHAPES } from './train-case.ts'

const NODES = 3
const BOUND = 1e-4

const text = (value: string) => ({ type: 'string', default: value }) as const
const { values, positionals: sets } = parseArgs({
  allowPositionals: true,
  options: { ...caseOptions, steps: text('200'), every: text('25'), length: text('512'), samples: text('32') },
})
const [steps, every] = [Number(values.steps), Number(values.every)]
const gpus = process.env['CUDA_VISIBLE_DEVICES']?.split(',') ?? ['0', '1']

function onNode(file: string, rank: number, more: readonly string[]): Promise<void> {
  // The node that produces needs none.
  const gpu = rank === 0 ? '' : (gpus[rank - 1] ?? '')
  const env = { RCLI_NODE_RANK: String(rank), RCLI_NUM_NODES: String(NODES), CUDA_VISIBLE_DEVICES: gpu }
  const args = [...draftbridgeCommand, 'run', '-c', file, '--quiet', ...more]
  const child = spawn(process.execPath, args, { cwd: checkout, env: { ...process.env, ...env }, stdio: 'inherit' })
  return ended(child, `node ${rank}`)
}

const ended = (child: ChildProcess, name: string): Promise<void> =>
  new Promise((resolve, reject) => {
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${name} ended with ${code}`))))
  })

type Metrics = Awaited<ReturnType<typeof eventsNamed<'train.metrics'>>>[number]

/** The metrics that are compared. */
const figuresOf = ({
  loss,
  gradNorm,
  ploss,
  acc,
  acceptanceRate,
}: Metrics): Readonly<Record<string, number | null>> => {
  return { loss, gradNorm, ploss: ploss[0] ?? null, acc: acc[0] ?? null, acceptance: acceptanceRate[0] ?? null }
}

const relative = (one: number | null, other: number | null): number =>
  one === other ? 0 : Math.abs((one ?? 0) - (other ?? 0)) / Math.max(Math.abs(one ?? 0), Number.MIN_VALUE)

await using scratch = await scratchFolder(values.dir)
const { dir } = scratch
const run = path.join(dir, 'run')
const train = { epochs: 1000, maxSteps: steps, logInterval: every, save: { every: 1_000_000, keep: 1 } }
const shape = z.enum(SHAPES).parse(values.shape)
const [samples, length] = [Number(values.samples), Number(values.length)]
const file = await prepareTrainCase({ dir, shape, samples, length, live: 1, ranks: 2, train })
const common = ['launch.threadsPerRank=1', ...sets].flatMap((set) => ['--set', set])

draftbridge('run', '-c', file, '--role', 'colocated', '--quiet', ...common)
const colocated = await eventsNamed(run, 'train.metrics')
await cp(path.join(run, 'events.ndjson'), path.join(dir, 'colocated.ndjson'))
await rm(run, { recursive: true })
const nodes = Array.from({ length: NODES }, (_, rank) =>
  onNode(file, rank, [...common, '--set', 'launch.ranksPerNode=1']),
)
await Promise.all(nodes)
const disaggregated = await eventsNamed(run, 'train.metrics')

const names = Object.keys(figuresOf(colocated[0] as Metrics))
const recorder = new Recorder({ title: 'Parity', ...values, name: values.name ?? 'parity' })
const table = recorder.table(`${shape}: colocated with 2 ranks / two nodes of 1 rank; largest relative difference`, [
  'step',
  ...names,
  'difference',
])
let largest = 0
for (const [index, one] of colocated.entries()) {
  const other = disaggregated[index]
  if (other === undefined || other.step !== one.step) throw new Error(`no metrics of two nodes at step ${one.step}`)
  const [mine, theirs] = [figuresOf(one), figuresOf(other)]
  const worst = Math.max(...names.map((name) => relative(mine[name] ?? null, theirs[name] ?? null)))
  largest = Math.max(largest, worst)
  const cells = names.map((name) => `${show(mine[name])} / ${show(theirs[name])}`)
  table.row(String(one.step), ...cells, worst === 0 ? '0' : worst.toExponential(1))
}
recorder.note(
  `${samples} samples of ${length} tokens; ${sets.join(' ') || 'no settings'}; largest difference ${largest.toExponential(1)}`,
)
await recorder.write()
process.exitCode = largest <= BOUND ? 0 : 1

function show(value: number | null | undefined): string {
  return value == null ? 'n/a' : value.toPrecision(7)
}
