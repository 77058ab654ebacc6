/**
 * Random sequences of operations by several clients, compared with a model.
 *
 *     node --import tsx scripts/faults/model.ts [--runs 2000] [--seed S] [--record [--name NAME]]
 */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { checkModel, modelSubjects } from '../../test/model/subjects.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'

const text = (value: string) => ({ type: 'string', default: value }) as const
const { values } = parseArgs({
  options: { ...recordOptions, runs: text('2000'), seed: text(String(randomInt(2 ** 31))) },
})
const [runs, seed] = [Number(values.runs), Number(values.seed)]
const recorder = new Recorder({ title: 'Random sequences', ...values, name: values.name ?? 'model' })
const table = recorder.table(`Sequences without a difference from the model, seed ${seed}`, [
  'backend',
  'sequences',
  'seconds',
])
for (const [name, make] of Object.entries(modelSubjects)) {
  const started = performance.now()
  // Throws at the first difference, with the shortest sequence that shows it.
  await checkModel({ make, runs, seed })
  table.row(name, String(runs), ((performance.now() - started) / 1000).toFixed(0))
}
await recorder.write()
process.exit(0)
