// The losses of a run that is killed and resumed against those of a run that is not, step by step. On a CPU they are equal.
// Usage: npm run bench:resume [-- --shape qwen|small] [--dir DIR] [--ranks N] [--steps N] [--record [--name NAME]]
import { spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { eventOf } from '../../src/report/events/events-file.ts'
import { checkout } from '../results/checkout.ts'
import { Recorder } from '../results/recorder.ts'
import { scratchFolder } from './scratch-folder.ts'
import { caseOptions, draftbridgeCommand, eventsNamed, prepareTrainCase, SHAPES } from './train-case.ts'

const { values } = parseArgs({ options: { ...caseOptions, steps: { type: 'string', default: '12' } } })
const shape = z.enum(SHAPES).parse(values.shape)
await using scratch = await scratchFolder(values.dir)
const { dir } = scratch
const train = { epochs: 100, maxSteps: Number(values.steps), logInterval: 1, save: { every: 3, keep: 2 } }
const ranks = Number(values.ranks)
const file = await prepareTrainCase({ dir, shape, samples: 8, length: 512, live: 0.5, ranks, train })

/** Trains into the run folder `name`. With `kill`, every process is killed when the first checkpoint is complete. */
async function trainInto(name: string, kill = false): Promise<void> {
  const args = ['train', '-c', file, '--json-lines', '--set', `run.dir=${path.join(dir, name)}`]
  const child = spawn(process.execPath, [...draftbridgeCommand, ...args], {
    cwd: checkout,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = new Promise<number | null>((resolve) => child.on('close', resolve))
  for await (const line of createInterface({ input: child.stdout })) {
    const event = eventOf(line)?.body.event
    if (kill && event === 'train.checkpoint' && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  }
  const status = await closed
  if (status !== 0 && !kill) throw new Error(`train ended with ${status}`)
}

/** The last loss that was logged for each step. */
async function losses(name: string): Promise<ReadonlyMap<number, number>> {
  const logged = await eventsNamed(path.join(dir, name), 'train.metrics')
  return new Map(logged.map(({ step, loss }) => [step, loss ?? Number.NaN]))
}

await trainInto('straight')
await trainInto('killed', true)
const killedAt = Math.max(...(await losses('killed')).keys())
await trainInto('killed')
const [straight, resumed] = [await losses('straight'), await losses('killed')]
const recorder = new Recorder({ title: 'A run that is killed and resumed', ...values, name: values.name ?? 'resume' })
const title = `Losses; killed at step ${killedAt}; draft of shape ${shape}, ${ranks} rank(s)`
const table = recorder.table(title, ['step', 'not killed', 'resumed', 'relative difference'])
let worst = 0
for (const [step, loss] of straight) {
  const other = resumed.get(step) ?? Number.NaN
  const difference = Math.abs(other - loss) / Math.abs(loss)
  worst = Math.max(worst, difference)
  table.row(String(step), loss.toFixed(7), other.toFixed(7), difference.toExponential(1))
}
recorder.note(`largest relative difference ${worst.toExponential(1)}`)
await recorder.write()
