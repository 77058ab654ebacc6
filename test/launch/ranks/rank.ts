import { once } from 'node:events'
import { appendFileSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { CodedError } from '../../../src/core/errors.ts'
import { runAsRank } from '../../../src/launch/rank-link.ts'

// A rank for the tests of the supervisor. Its spec says what it does.
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
  // Every rank waits until all have started, so that a test can count the ranks that are still alive.
  while (readFileSync(pids, 'utf8').split('\n').length <= ranks) await sleep(20)
  link.phase(`about to ${act}`)
  link.event({ act })
  if (act === 'return') return value
  if (act === 'wait') {
    // The request to stop may come before this line. An aborted signal fires no further event.
    if (!link.signal.aborted) await once(link.signal, 'abort')
    return 'stopped'
  }
  if (act === 'throw') throw new CodedError('FEATURE_INVALID', 'sample s-7 holds NaN', { field: 'hidden_state' })
  if (act === 'bug') throw new TypeError('not a function')
  process.stderr.write('the last line\n')
  await sleep(100)
  if (act === 'exit') process.exit(3)
  if (act === 'deaf') process.on('SIGTERM', () => undefined)
  if (act === 'freeze') block()
  await sleep(600_000)
  return null
})
