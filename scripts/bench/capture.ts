// How fast a target is captured: tokens/s with and without the store, and the seconds until the first sample.
// Usage: npm run bench:capture -- --target DIR_OR_GGUF [--count N] [--words N] [--cases drop,fast,fsync] [--processes 1,2]
//        [--floor TOKENS_PER_S] [--scratch DIR] [--batch-tokens N] [--record [--name NAME]]
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { execa } from 'execa'
import { findTarget } from '../../examples/quickstart/quickstart-state.ts'
import { checkout } from '../results/checkout.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { makeConversations } from './make-conversations.ts'
import { scratchFolder } from './scratch-folder.ts'

const { values } = parseArgs({
  options: {
    ...recordOptions,
    target: { type: 'string' },
    count: { type: 'string', default: '400' },
    words: { type: 'string', default: '180' },
    cases: { type: 'string', default: 'drop,fast,fsync' },
    processes: { type: 'string', default: '1' },
    gpus: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    floor: { type: 'string' },
    scratch: { type: 'string', default: tmpdir() },
    'batch-tokens': { type: 'string', default: 'auto' },
  },
})

interface Timeline {
  readonly started: number
  readonly marks: ReadonlyArray<readonly [seconds: number, tokens: number]>
}

/** The tokens at `seconds`, between two marks in proportion. */
function tokensAt({ marks }: Timeline, seconds: number): number {
  const after = marks.findIndex(([at]) => at >= seconds)
  const [before, behind] = [marks[after - 1], marks[after]]
  if (behind === undefined) return marks.at(-1)?.[1] ?? 0
  if (before === undefined || behind[0] === before[0]) return behind[1]
  return before[1] + ((seconds - before[0]) / (behind[0] - before[0])) * (behind[1] - before[1])
}

/** Tokens/s of all producers together, from when each has its first sample until the first of them ends. */
function together(timelines: readonly Timeline[]): number {
  const from = Math.max(...timelines.map(({ marks }) => marks[0]?.[0] ?? 0)) + 1
  const to = Math.min(...timelines.map(({ marks }) => marks.at(-1)?.[0] ?? 0))
  return timelines.reduce((sum, one) => sum + tokensAt(one, to) - tokensAt(one, from), 0) / (to - from)
}

async function producer(given: Readonly<Record<string, string>>, gpu: number): Promise<Timeline> {
  const program = path.join(import.meta.dirname, 'capture-process.ts')
  const args = Object.entries(given).flatMap(([name, value]) => [`--${name}`, value])
  const env = { CUDA_VISIBLE_DEVICES: String(gpu) }
  const { stdout } = await execa(
    process.execPath,
    ['--import', 'tsx', program, ...args, ...(values.trace ? ['--trace'] : [])],
    { env, stderr: 'inherit' },
  )
  return JSON.parse(stdout.split('\n').at(-1) ?? '') as Timeline
}

const target = values.target ?? (await findTarget(checkout))
const recorder = new Recorder({ title: 'Capturing a target', ...values, name: values.name ?? 'capture' })
const table = recorder.table(`${values.count} conversations a producer, batches of ${values['batch-tokens']} tokens`, [
  'case',
  'producers',
  'first sample, s',
  'tokens/s',
  'of floor',
  'whole, s',
])

for (const processes of values.processes.split(',').map(Number)) {
  for (const kind of values.cases.split(',')) {
    await using scratch = await scratchFolder(values.scratch)
    const producers = Array.from({ length: processes }, async (_, index) => {
      const data = path.join(scratch.dir, `conversations-${index}.jsonl`)
      await makeConversations(data, Number(values.count), Number(values.words), 1 + index)
      const dir = path.join(scratch.dir, String(index))
      const where = kind === 'drop' ? {} : { dir, durability: kind }
      const given = { target, data, 'batch-tokens': values['batch-tokens'], ...where }
      return producer(given, index % Number(values.gpus))
    })
    const timelines = await Promise.all(producers)
    const first = Math.max(...timelines.map(({ started, marks }) => (marks[0]?.[0] ?? Number.NaN) - started))
    const whole = Math.max(...timelines.map(({ started, marks }) => (marks.at(-1)?.[0] ?? Number.NaN) - started))
    const rate = together(timelines)
    const share = values.floor === undefined ? '' : `${((100 * rate) / Number(values.floor)).toFixed(1)} %`
    table.row(kind, String(processes), first.toFixed(1), rate.toFixed(0), share, whole.toFixed(1))
  }
}
await recorder.write()
