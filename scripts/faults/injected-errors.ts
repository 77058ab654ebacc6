/**
 * Makes every call of every operation that may change a file fail in every way in which a file system fails.
 *
 *     node --import tsx scripts/faults/injected-errors.ts [--record [--name NAME]] [OPERATION...]
 *
 * Exit status 1 when a promise was broken: a wrong code, a temporary file, a half object, lost data.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { Recorder, recordOptions } from '../results/recorder.ts'
import type { Table } from '../results/table.ts'
import { type Extent, type Point, pointsOf, REMOVING, wrongAnswer } from './error-points.ts'
import { brokenLines, groupBy } from './fault-table.ts'
import { filesBelow } from './files-below.ts'
import { type Before, DEAD, operations } from './operations.ts'
import { NotAttached, touches, trace, whyNoStrace } from './traced-calls.ts'
import { WorkerProcess } from './worker-process.ts'

export interface InjectedError extends Point {
  readonly operation: string
  readonly dir: string
  readonly before: Before
  readonly broken: readonly string[]
  /** The error hit another call, such as the wake-up of a thread, because threads interleave differently each time. */
  readonly missed: boolean
}

/** A worker process that is restarted when an injected error hits the runtime itself and ends it. */
class RestartingWorker implements AsyncDisposable {
  #worker = WorkerProcess.start()

  async run(operation: string, dir: string, point?: Point) {
    const worker = await this.#worker
    const before = (await worker.ask({ do: 'prepare', operation, dir }))?.before
    if (before === undefined) throw new Error(`${operation} cannot be prepared`)
    const { pid } = worker
    const threads = (await readdir(`/proc/${pid}/task`)).sort((one, other) => Number(one) - Number(other))
    // A thread that exists only during the operation is not among them yet.
    const thread = threads[point?.thread ?? -1]
    const traced = thread === undefined ? {} : { thread: Number(thread) }
    const inject =
      point === undefined ? {} : { ...traced, inject: `${point.call}:error=${point.errno}:when=${point.nth}` }
    await using tracing = await trace({ pid, ...inject })
    const answer = await worker.ask({ do: 'run', operation, dir, before })
    if (answer === null) await this.#restart(operation, `${dir}-again`)
    const calls = [...tracing.calls]
    const met = calls.some((call) => call.line.includes('(INJECTED)') && touches(call, dir))
    return { answer, before, dir, calls, threads, met }
  }

  // Some threads exist only after the operation has run once.
  async #restart(operation: string, dir: string): Promise<void> {
    this.#worker = WorkerProcess.start()
    await this.run(operation, dir)
    await rm(dir, { recursive: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#worker)[Symbol.asyncDispose]()
  }
}

async function tryOne(
  worker: RestartingWorker,
  operation: string,
  scratch: string,
  point: Point,
): Promise<InjectedError> {
  const { call, nth, errno } = point
  for (const beside of [0, -1, 1]) {
    const dir = path.join(scratch, `${call}-${point.thread}-${nth}-${errno}-${beside}`)
    const ran = await worker.run(operation, dir, { ...point, nth: nth + beside }).catch(unlessNotAttached)
    if (ran?.met && ran.answer !== null) {
      const { answer, before } = ran
      const broken = [...wrongAnswer(point, answer), ...(await leftBehind(dir, call))]
      return { ...point, operation, dir, before, broken, missed: false }
    }
    await rm(dir, { recursive: true })
  }
  return { ...point, operation, dir: '', before: { refs: [] }, broken: [], missed: true }
}

// Threads come and go: the call may belong to another thread in this run.
function unlessNotAttached(error: unknown): null {
  if (error instanceof NotAttached) return null
  throw error
}

async function leftBehind(dir: string, call: string): Promise<readonly string[]> {
  const found = REMOVING.test(call) ? [] : await filesBelow(path.join(dir, 'store', 'staging'))
  // Files of a member that died before the operation are removed by gc, perhaps only by the next one.
  const left = found.filter((file) => !file.startsWith(DEAD))
  return left.length > 0 ? [`left in staging: ${left.join(', ')}`] : []
}

/** Adds what a later process finds broken in the store. */
async function checked(checker: WorkerProcess, one: InjectedError): Promise<InjectedError> {
  const { operation, dir, before } = one
  const answer = await checker.ask({ do: 'check', operation, dir, before })
  await rm(dir, { recursive: true })
  const found = answer?.broken ?? [answer?.message ?? 'the checking process ended']
  return { ...one, broken: [...one.broken, ...found] }
}

/** Injects every error, then has another process check what each left behind. */
export async function allErrors(
  names: readonly string[],
  scratch: string,
  extent: Extent,
  onTried?: (one: InjectedError) => void,
) {
  const starting = WorkerProcess.start()
  const tried: InjectedError[] = []
  {
    await using worker = new RestartingWorker()
    for (const [index, operation] of names.entries()) {
      const place = path.join(scratch, String(index))
      await worker.run(operation, path.join(place, 'first'))
      const watched = await worker.run(operation, path.join(place, 'watched'))
      if (watched.answer?.failed !== undefined) throw new Error(`${operation}: ${watched.answer.message}`)
      for (const point of pointsOf(watched.calls, watched.threads, watched.dir, extent)) {
        const one = await tryOne(worker, operation, place, point)
        onTried?.(one)
        tried.push(one)
      }
    }
  }
  await using checker = await starting
  const outcomes: InjectedError[] = []
  for (const one of tried.filter(({ missed }) => !missed)) outcomes.push(await checked(checker, one))
  return { outcomes, missed: tried.filter(({ missed }) => missed) }
}

/** By operation and errno: how many calls failed, how many left something wrong, and how many could not be aimed at. */
function errorTable(outcomes: readonly InjectedError[], missed: readonly InjectedError[]): Table {
  const groups = groupBy([...outcomes, ...missed], ({ operation, errno }) => `${operation}, ${errno}`)
  const counts = (group: readonly InjectedError[]): readonly string[] => {
    const met = group.filter((one) => !one.missed)
    return [met.length, met.filter(({ broken }) => broken.length > 0).length, group.length - met.length].map(String)
  }
  return {
    title: 'What a failed call leaves',
    columns: ['operation, error', 'points', 'wrong', 'not met'],
    rows: [
      ...[...groups].map(([name, group]) => [name, ...counts(group)]),
      ['all', ...counts([...outcomes, ...missed])],
    ],
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: recordOptions })
  const reason = whyNoStrace()
  if (reason !== null) throw new Error(reason)
  const scratch = await mkdtemp(path.join(tmpdir(), 'draftbridge-faults-'))
  const names = positionals.length > 0 ? positionals : Object.keys(operations)
  const { outcomes, missed } = await allErrors(names, scratch, 'all', (one) => {
    const found = one.missed ? 'not met' : one.broken.join('; ') || 'as it should be'
    process.stderr.write(`${one.operation}: ${one.call} ${one.nth} ${one.errno}: ${found}\n`)
  })
  await rm(scratch, { recursive: true, force: true })
  const recorder = new Recorder({ title: 'Injected errors', ...values, name: values.name ?? 'injected-errors' })
  recorder.add(errorTable(outcomes, missed))
  const faults = outcomes.map((one) => ({ ...one, fault: `${one.call} ${one.nth} ${one.errno}` }))
  for (const line of brokenLines(faults)) recorder.note(line)
  await recorder.write()
  process.exitCode = outcomes.some(({ broken }) => broken.length > 0) ? 1 : 0
}

if (process.argv[1] === import.meta.filename) await main()
