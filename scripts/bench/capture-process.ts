// One producer of scripts/bench/capture.ts. Prints when how many tokens were captured, as one line of JSON.
import { parseArgs } from 'node:util'
import { embedPython, type Python } from '../../src/bridge/python.ts'
import { RunConfig } from '../../src/config/schema.ts'
import type { EventBody } from '../../src/report/events/events.ts'
import { planCapture } from '../../src/roles/produce/plan-capture.ts'
import { produceInto } from '../../src/roles/produce/produce.ts'
import { openStore } from '../../src/store/open.ts'

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: '' },
    data: { type: 'string', default: '' },
    /** A folder for the store and the manifest; without it the features are dropped as soon as they are on the host. */
    dir: { type: 'string' },
    durability: { type: 'string', default: 'fsync' },
    trace: { type: 'boolean', default: false },
    'batch-tokens': { type: 'string', default: '16384' },
  },
})

/** [seconds since the epoch, tokens so far]. */
const marks: Array<readonly [number, number]> = []
let tokens = 0
const mark = (): void => {
  const now = Date.now() / 1000
  if (now - (marks.at(-1)?.[0] ?? 0) >= 0.1) marks.push([now, tokens])
}

const config = RunConfig.parse({
  version: 1,
  run: { id: 'bench' },
  target: { model: values.target },
  data: { conversations: values.data, batchTokens: Number(values['batch-tokens']) },
  store: { root: `${values.dir}/store`, durability: values.durability },
  manifest: `${values.dir}/manifest`,
})
const since = (): string => (performance.now() / 1000).toFixed(1)
if (values.trace) process.stderr.write(`${since()} s: program loaded\n`)
const embedded = await embedPython()
if (values.trace) process.stderr.write(`${since()} s: Python started\n`)
/** Calls and seconds by op, waiting for their lane included. */
const spent = new Map<string, { calls: number; seconds: number }>()

/** With --trace, says of the first long calls when they ended and how long they took. */
const python: Python = {
  async call(op, input) {
    const begun = performance.now()
    const output = await embedded.call(op, input)
    const took = performance.now() - begun
    const before = spent.get(op) ?? { calls: 0, seconds: 0 }
    spent.set(op, { calls: before.calls + 1, seconds: before.seconds + took / 1000 })
    if (values.trace && took > 200 && begun < 40_000) {
      process.stderr.write(`${since()} s: ${op} took ${(took / 1000).toFixed(2)} s\n`)
    }
    return output
  },
}

async function dropped(): Promise<void> {
  const plan = await planCapture(config, python, null)
  await using source = await plan.open()
  for await (const item of source.items(() => Promise.resolve(false))) {
    if (item.kind !== 'sample') continue
    await item.tensors[Symbol.asyncDispose]()
    tokens += item.numTokens
    mark()
  }
}

async function stored(): Promise<void> {
  await using store = await openStore({ ...config.store, python, retain: true, create: true })
  const emit = (body: EventBody): void => {
    if (body.event !== 'produce.progress' || body.tokens === 0) return
    tokens = body.tokens
    mark()
  }
  const context = { events: { emit }, signal: new AbortController().signal, clock: { now: () => Date.now() } }
  await produceInto({ config, python, store, context })
}

await (values.dir === undefined ? dropped() : stored())
marks.push([Date.now() / 1000, tokens])
if (values.trace)
  process.stderr.write(
    `${[...spent].map(([op, { calls, seconds }]) => `${op} ${calls} x, ${seconds.toFixed(1)} s`).join('; ')}\n`,
  )
process.stdout.write(`${JSON.stringify({ started: performance.timeOrigin / 1000, marks })}\n`)
