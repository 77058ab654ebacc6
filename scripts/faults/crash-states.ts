import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { KeptWitnesses } from './kept-witnesses.ts'
import type { Before } from './operations.ts'
import { touches, trace } from './traced-calls.ts'
import type { WorkerProcess } from './worker-process.ts'

/** What is on disk when a process is killed right after the call `after`. */
export interface CrashState {
  readonly operation: string
  readonly call: string
  readonly after: string
  /** Calls of other threads that were made before all threads had stopped. */
  readonly merged: number
  readonly dir: string
  readonly before: Before
}

const copy = promisify(execFile)

/**
 * Every state that a kill can leave behind, from one run of the operation.
 *
 * strace stops the whole process at each call that may change a file. While all its threads are stopped, the files on
 * disk are what a kill at that moment would leave. They are copied, and the process continues to the next call.
 */
export async function crashStates(
  worker: WorkerProcess,
  operation: string,
  scratch: string,
  witnesses: KeptWitnesses,
): Promise<readonly CrashState[]> {
  const dir = path.join(scratch, 'live')
  const prepared = await worker.ask({ do: 'prepare', operation, dir })
  const before = prepared?.before
  if (before === undefined) throw new Error(`${operation}: cannot be prepared: ${prepared?.message}`)
  const states: CrashState[] = []
  let seen = 0
  let stopped = false
  await using tracing = await trace({
    pid: worker.pid,
    inject: 'ALL:signal=SIGSTOP',
    onLine: (line) => {
      stopped ||= line.includes('--- SIGSTOP {')
    },
  })
  const running = new AbortController()
  const answered = worker.ask({ do: 'run', operation, dir, before }).finally(() => running.abort())
  while (!running.signal.aborted) {
    const since = performance.now()
    // strace may print two stops as one line; after 200 ms the threads themselves are looked at.
    while (
      !running.signal.aborted &&
      !((stopped || performance.now() - since > 200) && (await isStopped(worker.pid)))
    ) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const fresh = tracing.calls.slice(seen).filter((call) => touches(call, dir))
    seen = tracing.calls.length
    const last = fresh.at(-1)
    if (last !== undefined && !running.signal.aborted) {
      const state = path.join(scratch, `state-${states.length}`)
      await copy('cp', ['-a', dir, state])
      await witnesses.keep(state)
      states.push({ operation, call: last.name, after: last.line, merged: fresh.length - 1, dir: state, before })
    }
    stopped = false
    process.kill(worker.pid, 'SIGCONT')
  }
  const answer = await answered
  if (answer?.failed !== undefined) throw new Error(`${operation}: failed without a fault: ${answer.message}`)
  return states
}

/** Whether all threads of a traced process are stopped. */
async function isStopped(pid: number): Promise<boolean> {
  const tasks = `/proc/${pid}/task`
  for (const thread of await readdir(tasks)) {
    const stat = await readFile(path.join(tasks, thread, 'stat'), 'utf8').catch(() => ') t')
    if (!/\) [tT]/.test(stat)) return false
  }
  return true
}
