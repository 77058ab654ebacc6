/** Random sequences of several clients against a model: `node --import tsx scripts/faults/model.ts [--runs N] [--seed S]`. */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { checkModel, modelSubjects } from '../../test/model/subjects.ts'

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '2000' }, seed: { type: 'string', default: String(randomInt(2 ** 31)) } },
})
const [runs, seed] = [Number(values.runs), Number(values.seed)]
for (const [name, make] of Object.entries(modelSubjects)) {
  const started = performance.now()
  await checkModel({ make, runs, seed })
  const seconds = ((performance.now() - started) / 1000).toFixed(0)
  process.stdout.write(`${name}: ${runs} sequences, seed ${seed}, ${seconds} s, no difference\n`)
}
process.exit(0)
