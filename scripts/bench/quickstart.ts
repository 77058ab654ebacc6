// What the finished quickstart measured: tau and tokens/s by draft steps, and what training took.
// Usage: npm run bench:quickstart [-- --record [--name NAME]], after npm run quickstart
import path from 'node:path'
import { parseArgs } from 'node:util'
import { checkout } from '../results/checkout.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { eventsNamed } from './train-case.ts'

const { values } = parseArgs({ options: recordOptions })
const run = path.join(checkout, 'runs/quickstart')
const [evaluated] = (await eventsNamed(run, 'eval.finished')).slice(-1)
const [trained] = (await eventsNamed(run, 'train.finished')).slice(-1)
const [metrics] = (await eventsNamed(run, 'train.metrics')).slice(-1)
if (evaluated === undefined || trained === undefined || metrics === undefined) {
  process.stderr.write('the quickstart is not finished: run `npm run quickstart` first\n')
  process.exit(69)
}
const recorder = new Recorder({ title: 'The quickstart', ...values, name: values.name ?? 'quickstart' })
const decoding = recorder.table(`Chain decoding of ${evaluated.prompts} held-out prompts`, [
  'draft steps',
  'tau',
  'tokens/s',
])
decoding.row('none: plain greedy decoding', '1', evaluated.plainTokensPerSecond.toFixed(1))
for (const { steps, tau, tokensPerSecond } of evaluated.bySteps) {
  decoding.row(String(steps), tau.toFixed(3), tokensPerSecond.toFixed(1))
}
recorder.note(
  `The drafted text ${evaluated.lossless ? 'equals' : 'differs from'} plain greedy decoding, token for token.`,
)
recorder.note(`Training: ${trained.step} steps, ${metrics.tokensPerSecond.toFixed(0)} tokens/s at the end.`)
await recorder.write()
