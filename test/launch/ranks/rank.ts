import { once } from 'node:events'
import { appendFileSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { CodedError } from '../../../src/core/errors.ts'
import { runAsRank } from '../../../src/launch/rank-link.ts'

// A rank of the supervisor's tests: it does what its spec says.
const Spec = z.object({
  act: z.enum(['return', 'wait', 'throw', 'bug', 'exit', 'hang', 'deaf', 'freeze']),
  value: z.unknown().optional(),
  pids: z.string(),
  ranks: z.number(),
})

function block(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

await runAsRank(async (link) => {
  const { act, value, pids, ranks } = Spec.parse(link.spec)
  appendFileSync(pids, `${process.pid}\n`)
  // Nobody acts before all are there, so that a test can count those that are left.
  while (readFileSync(pids, 'utf8').split('\n').length <= ranks) await sleep(20)
  link.phase(`about to ${act}`)
  link.event({ act })
  if (act === 'return') return value
  if (act === 'wait') {
    // Under load the request to stop can come before this line: a signal that has aborted fires no further event.
    if (!link.signal.aborted) await once(link.signal, 'abort')
    return 'stopped'
  }
  if (act === 'throw') throw new CodedError('FEATURE_INVALID', 'sample s-7 holds NaN', { field: 'hidden_state' })
  if (act === 'bug') throw new TypeError('not a function')
  process.stderr.write('the last words\n')
  await sleep(100)
  if (act === 'exit') process.exit(3)
  if (act === 'deaf') process.on('SIGTERM', () => undefined)
  if (act === 'freeze') block()
  await sleep(600_000)
  return null
})
