// Where the milliseconds of a training step go on a GPU, without store and ranks. On a CPU: only the distances from fp64.
// Usage: npm run bench:unroll [-- --profile] [--record [--name NAME]] [CASE…]
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { checkout, venvPython } from '../results/checkout.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'

const Row = z.array(z.string())
const Printed = z.object({ tables: z.array(z.object({ title: z.string(), columns: Row, rows: z.array(Row) })) })

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { ...recordOptions, profile: { type: 'boolean', default: false } },
})
const script = path.join(checkout, 'scripts/bench/unroll.py')
const args = [...(values.profile ? ['--profile'] : []), ...positionals]
const printed = execFileSync(venvPython(), [script, ...args], {
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'inherit'],
})
const recorder = new Recorder({ title: 'The unroll alone', ...values, name: values.name ?? 'unroll' })
for (const table of Printed.parse(JSON.parse(printed)).tables) recorder.add(table)
await recorder.write()
