/**
 * Kills each operation on a store at every point at which it can be killed, and checks the store's promises afterwards.
 *
 *     node --import tsx scripts/faults/crash-points.ts [--kill] [--record [--name NAME]] [OPERATION...]
 *
 * Without --kill one process runs each operation, and the disk is copied after every call. With --kill a new process is
 * killed before every call. Exit status 1 when a promise was broken.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { type CrashState, crashStates } from './crash-states.ts'
import { brokenLines, type FaultOutcome, faultTable } from './fault-table.ts'
import { KeptWitnesses } from './kept-witnesses.ts'
import { kills } from './kills.ts'
import { operations } from './operations.ts'
import { whyNoStrace } from './traced-calls.ts'
import { WorkerProcess } from './worker-process.ts'

export interface Outcome extends FaultOutcome {
  /** States right before it that were not copied, because two threads made their calls at the same time. `--kill` meets them. */
  readonly unseen: number
}

/** Two threads may make their calls before the process stops. That seldom happens in every one of several runs. */
const RUNS = 3

async function statesApart(
  worker: WorkerProcess,
  name: string,
  scratch: string,
  witnesses: KeptWitnesses,
): Promise<readonly CrashState[]> {
  let states: readonly CrashState[] = []
  for (let run = 0; run < RUNS; run += 1) {
    states = await crashStates(worker, name, path.join(scratch, String(run)), witnesses)
    if (states.every(({ merged }) => merged === 0)) break
  }
  return states
}

/** Copies the disk after every call of every operation. The copies are checked when the process that was copied has ended. */
export async function judgeStates(names: readonly string[], scratch: string): Promise<readonly Outcome[]> {
  const starting = WorkerProcess.start()
  const worker = await WorkerProcess.start()
  await using witnesses = new KeptWitnesses()
  const states = []
  for (const [index, name] of names.entries()) {
    states.push(...(await statesApart(worker, name, path.join(scratch, String(index)), witnesses)))
  }
  await worker[Symbol.asyncDispose]()
  await using checker = await starting
  const outcomes: Outcome[] = []
  for (const { operation, call, merged, dir, before } of states) {
    await witnesses.restore()
    const answer = await checker.ask({ do: 'check', operation, dir, before })
    const broken = answer?.broken ?? [answer?.message ?? 'the checking process ended']
    outcomes.push({ operation, fault: call, broken, unseen: merged })
  }
  return outcomes
}

async function* killedAtEachCall(names: readonly string[], scratch: string): AsyncGenerator<Outcome> {
  await using checker = await WorkerProcess.start()
  for (const [index, name] of names.entries()) {
    for await (const { operation, call, nth, broken } of kills(checker, name, path.join(scratch, String(index)))) {
      process.stderr.write(`${operation}: killed before ${call} ${nth}: ${broken.join('; ') || 'nothing broken'}\n`)
      yield { operation, fault: call, broken, unseen: 0 }
    }
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { ...recordOptions, kill: { type: 'boolean', default: false } },
  })
  const reason = whyNoStrace()
  if (reason !== null) throw new Error(reason)
  const names = positionals.length > 0 ? positionals : Object.keys(operations)
  const scratch = await mkdtemp(path.join(tmpdir(), 'draftbridge-faults-'))
  const outcomes: Outcome[] = []
  if (values.kill) for await (const outcome of killedAtEachCall(names, scratch)) outcomes.push(outcome)
  else outcomes.push(...(await judgeStates(names, scratch)))
  await rm(scratch, { recursive: true, force: true })
  const [title, name] = values.kill ? ['Kills', 'kills'] : ['Crash states', 'crash-states']
  const recorder = new Recorder({ title, ...values, name: values.name ?? name })
  recorder.add(faultTable('What a killed process leaves', 'call', outcomes))
  for (const line of brokenLines(outcomes)) recorder.note(line)
  const unseen = outcomes.reduce((sum, outcome) => sum + outcome.unseen, 0)
  if (unseen > 0)
    recorder.note(`${unseen} more states lie between simultaneous calls of two threads and were not copied.`)
  await recorder.write()
  process.exitCode = outcomes.some(({ broken }) => broken.length > 0) ? 1 : 0
}

if (process.argv[1] === import.meta.filename) await main()
