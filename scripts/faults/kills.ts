import { rm } from 'node:fs/promises'
import path from 'node:path'
import { touches, trace } from './traced-calls.ts'
import { WorkerProcess } from './worker-process.ts'

export interface Kill {
  readonly operation: string
  readonly call: string
  readonly nth: number
  readonly broken: readonly string[]
}

interface Point {
  readonly call: string
  readonly nth: number
}

/**
 * Kills a fresh process before each call of `operation` that may change a file, by strace's
 * `inject=CALL:signal=SIGKILL:when=N`, and checks what it left. strace counts the calls of each thread separately, so
 * when two threads make calls of one name, the thread that reaches N first is killed.
 */
export async function* kills(checker: WorkerProcess, operation: string, scratch: string): AsyncGenerator<Kill> {
  let next = WorkerProcess.start()
  try {
    for (const { call, nth } of await pointsOf(checker, operation, scratch)) {
      const dir = path.join(scratch, `${call}-${nth}`)
      const before = (await checker.ask({ do: 'prepare', operation, dir }))?.before
      if (before === undefined) throw new Error(`${operation} cannot be prepared`)
      const worker = await next
      next = WorkerProcess.start()
      const broken: string[] = []
      {
        await using tracing = await trace({ pid: worker.pid, inject: `${call}:signal=SIGKILL:when=${nth}` })
        const answer = await worker.ask({ do: 'run', operation, dir, before })
        if (answer !== null) broken.push(`the process was not killed, though strace saw ${tracing.calls.length} calls`)
      }
      await worker[Symbol.asyncDispose]()
      const found = await checker.ask({ do: 'check', operation, dir, before })
      broken.push(...(found?.broken ?? [found?.message ?? 'the checking process ended']))
      yield { operation, call, nth, broken }
      await rm(dir, { recursive: true })
    }
  } finally {
    await (await next)[Symbol.asyncDispose]()
  }
}

/** All calls of a traced run that is not killed, made by a new process as each killed run is. */
async function pointsOf(checker: WorkerProcess, operation: string, scratch: string): Promise<readonly Point[]> {
  const dir = path.join(scratch, 'watched')
  const before = (await checker.ask({ do: 'prepare', operation, dir }))?.before
  if (before === undefined) throw new Error(`${operation} cannot be prepared`)
  await using worker = await WorkerProcess.start()
  await using tracing = await trace({ pid: worker.pid })
  const answer = await worker.ask({ do: 'run', operation, dir, before })
  if (answer === null || answer.failed !== undefined) throw new Error(`${operation}: ${answer?.message ?? 'ended'}`)
  const points = new Map<string, Point>()
  for (const call of tracing.calls.filter((each) => touches(each, dir))) {
    points.set(`${call.name} ${call.nth}`, { call: call.name, nth: call.nth })
  }
  return [...points.values()]
}
