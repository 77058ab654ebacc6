// What the bridge costs per training step: one rank in this process trains on the quickstart's features.
// Usage: npm run bench:bridge [-- --steps N] [--record [--name NAME]], after npm run quickstart
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { findTarget } from '../../examples/quickstart/quickstart-state.ts'
import { embedPython, laneCosts } from '../../src/bridge/python.ts'
import { loadConfig } from '../../src/config/load.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import type { EventBody } from '../../src/report/events/events.ts'
import { buildDisaggEagle3Runtime } from '../../src/roles/train/runtime.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { checkout } from '../results/checkout.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { scratchFolder } from './scratch-folder.ts'

const { values } = parseArgs({ options: { ...recordOptions, steps: { type: 'string', default: '60' } } })

interface Totals {
  readonly calls: number
  readonly engineMs: number
  readonly ioMs: number
  readonly at: number
}

/** Costs of the process up to now. The difference of two totals is the cost of the time between them. */
const totals = (): Totals => ({
  calls: laneCosts.io.calls + laneCosts.engine.calls,
  engineMs: laneCosts.engine.overheadMs,
  ioMs: laneCosts.io.overheadMs,
  at: performance.now(),
})

async function measure(run: string): Promise<{ readonly marks: readonly Totals[]; readonly waits: readonly number[] }> {
  const env = { ...process.env, SMOLLM2_GGUF: await findTarget(checkout) }
  const sets = [`run.dir=${run}`, `train.maxSteps=${values.steps}`, 'train.logInterval=1', 'train.save.every=1000000']
  const config = await loadConfig({ file: path.join(checkout, 'examples/quickstart/draftbridge.yaml'), env, sets })
  if (!existsSync(config.manifest)) {
    process.stderr.write('there are no features yet: run `npm run quickstart` first\n')
    process.exit(69)
  }
  const python = await embedPython()
  await using store = await sharedDirFeatureStore({ python, root: config.store.root, retain: true, create: false })
  const manifest = await readRefManifest({ dir: config.manifest, storeId: store.id })
  const marks: Totals[] = []
  const waits: number[] = []
  const emit = (body: EventBody): void => {
    if (body.event !== 'train.metrics') return
    marks.push(totals())
    waits.push(body.dataWaitShare)
  }
  await using runtime = await buildDisaggEagle3Runtime({ config, python, store, manifest, events: { emit } })
  await runtime.fit()
  return { marks, waits }
}

await using scratch = await scratchFolder(tmpdir())
const { marks, waits } = await measure(scratch.dir)
const [first, last] = [marks[0], marks.at(-1)]
if (first === undefined || last === undefined || marks.length < 2) throw new Error('--steps must be at least 2')
const per = (value: number): string => (value / (marks.length - 1)).toFixed(3)
const wait = waits.slice(1).reduce((sum, share) => sum + share, 0) / (waits.length - 1)
const [engineMs, ioMs] = [last.engineMs - first.engineMs, last.ioMs - first.ioMs]
const recorder = new Recorder({
  title: 'What the bridge costs a training step',
  ...values,
  name: values.name ?? 'bridge',
})
const table = recorder.table(`${marks.length - 1} steps of the quickstart, 1 rank, metrics read every step`, [
  'per step',
  '',
])
table.row('step', `${per(last.at - first.at)} ms`)
table.row('calls', per(last.calls - first.calls))
table.row('data wait', `${(100 * wait).toFixed(2)} %`)
table.row('bridge, engine lane (the step waits)', `${per(engineMs)} ms`)
table.row('bridge, io lane (beside the step)', `${per(ioMs)} ms`)
table.row('bridge, both lanes', `${per(engineMs + ioMs)} ms`)
await recorder.write()
