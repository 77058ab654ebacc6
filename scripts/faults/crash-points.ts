/**
 * Every point at which an operation on a store can be killed, and whether the store keeps its promises after it.
 *
 *     node --import tsx scripts/faults/crash-points.ts [--kill] [OPERATION...]
 *
 * Without --kill one process runs each operation and the disk is copied after every call; with it a process of its own is
 * killed before every call. Ends with 1 when a promise was broken.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type CrashState, crashStates } from './crash-states.ts'
import { markdown, rows } from './fault-table.ts'
import { kills } from './kills.ts'
import { operations } from './operations.ts'
import { whyNoStrace } from './traced-calls.ts'
import { WorkerProcess } from './worker-process.ts'

export interface Outcome {
  readonly operation: string
  readonly fault: string
  readonly broken: readonly string[]
  /** States before it that were not seen, because two threads made their calls at one moment. `--kill` meets them. */
  readonly unseen: number
}

/** Two threads may make their calls before the process stands still; seldom in all of several runs. */
const RUNS = 3

async function statesApart(worker: WorkerProcess, name: string, scratch: string): Promise<readonly CrashState[]> {
  let states: readonly CrashState[] = []
  for (let run = 0; run < RUNS; run += 1) {
    states = await crashStates(worker, name, path.join(scratch, String(run)))
    if (states.every(({ merged }) => merged === 0)) break
  }
  return states
}

/** Copies the disk after every call of every operation; the processes that made the copies are gone when they are judged. */
export async function judgeStates(names: readonly string[], scratch: string): Promise<readonly Outcome[]> {
  const looker = WorkerProcess.start()
  const worker = await WorkerProcess.start()
  const states = []
  for (const [index, name] of names.entries()) {
    states.push(...(await statesApart(worker, name, path.join(scratch, String(index)))))
  }
  await worker[Symbol.asyncDispose]()
  await using judge = await looker
  const outcomes: Outcome[] = []
  for (const { operation, call, merged, dir, before } of states) {
    const answer = await judge.ask({ do: 'check', operation, dir, before })
    const broken = answer?.broken ?? [answer?.message ?? 'the one who looks ended itself']
    outcomes.push({ operation, fault: call, broken, unseen: merged })
  }
  return outcomes
}

async function* killedOnes(names: readonly string[], scratch: string): AsyncGenerator<Outcome> {
  await using looker = await WorkerProcess.start()
  for (const [index, name] of names.entries()) {
    for await (const { operation, call, nth, broken } of kills(looker, name, path.join(scratch, String(index)))) {
      process.stderr.write(`${operation}: killed before ${call} ${nth}: ${broken.join('; ') || 'nothing broken'}\n`)
      yield { operation, fault: call, broken, unseen: 0 }
    }
  }
}

async function main(args: readonly string[]): Promise<void> {
  const reason = whyNoStrace()
  if (reason !== null) throw new Error(reason)
  const chosen = args.filter((arg) => !arg.startsWith('--'))
  const names = chosen.length > 0 ? chosen : Object.keys(operations)
  const scratch = await mkdtemp(path.join(tmpdir(), 'draftbridge-faults-'))
  const outcomes: Outcome[] = []
  if (args.includes('--kill')) for await (const outcome of killedOnes(names, scratch)) outcomes.push(outcome)
  else outcomes.push(...(await judgeStates(names, scratch)))
  await rm(scratch, { recursive: true, force: true })
  process.stdout.write(`${markdown(rows(outcomes), 'call')}\n`)
  for (const { operation, fault, broken } of outcomes) {
    if (broken.length > 0) process.stdout.write(`broken: ${operation}, ${fault}: ${broken.join('; ')}\n`)
  }
  const unseen = outcomes.reduce((sum, outcome) => sum + outcome.unseen, 0)
  if (unseen > 0)
    process.stdout.write(`${unseen} more states lie between calls of two threads at one moment: not seen\n`)
  process.exitCode = outcomes.some(({ broken }) => broken.length > 0) ? 1 : 0
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2))
