// What the bridge costs per training step: one rank in this process trains on the quickstart's features.
// Prints one table. Usage: npm run bench:bridge [-- STEPS] after npm run quickstart
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { findTarget } from '../../examples/quickstart/standing.ts'
import { embedPython, laneCosts } from '../../src/bridge/python.ts'
import { loadConfig } from '../../src/config/load.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import type { EventBody } from '../../src/report/events/events.ts'
import { buildDisaggEagle3Runtime } from '../../src/roles/train/runtime.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'

const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
const steps = Number(process.argv[2] ?? 60)
const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-bench-'))

/** Totals of both lanes, so that a difference of two of these is what happened in between. */
const totals = () => ({
  calls: laneCosts.io.calls + laneCosts.engine.calls,
  engineMs: laneCosts.engine.overheadMs,
  ioMs: laneCosts.io.overheadMs,
  at: performance.now(),
})

try {
  const env = { ...process.env, SMOLLM2_GGUF: await findTarget(checkout) }
  const sets = [`run.dir=${dir}`, `train.maxSteps=${steps}`, 'train.logInterval=1', 'train.save.every=1000000']
  const config = await loadConfig({ file: path.join(checkout, 'examples/quickstart/draftbridge.yaml'), env, sets })
  if (!existsSync(config.manifest)) {
    process.stderr.write('there are no features yet: run `npm run quickstart` first\n')
    process.exit(69)
  }
  const python = await embedPython()
  await using store = await sharedDirFeatureStore({ python, root: config.store.root, retain: true, create: false })
  const manifest = await readRefManifest({ dir: config.manifest, storeId: store.id })
  const marks: ReturnType<typeof totals>[] = []
  const waits: number[] = []
  const emit = (body: EventBody): void => {
    if (body.event !== 'train.metrics') return
    marks.push(totals())
    waits.push(body.dataWaitShare)
  }
  await using runtime = await buildDisaggEagle3Runtime({ config, python, store, manifest, events: { emit } })
  await runtime.fit()
  const [first, last] = [marks[0], marks.at(-1)]
  if (first === undefined || last === undefined || marks.length < 2) throw new Error('give it at least two steps')
  const per = (value: number): string => (value / (marks.length - 1)).toFixed(3)
  process.stdout.write(
    [
      `steps measured            ${marks.length - 1} (metrics read every step)`,
      `step                      ${per(last.at - first.at)} ms`,
      `calls per step            ${per(last.calls - first.calls)}`,
      `data wait                 ${((100 * waits.slice(1).reduce((a, b) => a + b, 0)) / (waits.length - 1)).toFixed(2)} % of a step, mean`,
      `bridge, engine lane       ${per(last.engineMs - first.engineMs)} ms per step (what the step waits for)`,
      `bridge, io lane           ${per(last.ioMs - first.ioMs)} ms per step (beside the step, when it is loaded ahead)`,
      `bridge, both              ${per(last.engineMs - first.engineMs + last.ioMs - first.ioMs)} ms per step`,
      '',
    ].join('\n'),
  )
} finally {
  await rm(dir, { recursive: true, force: true })
}
