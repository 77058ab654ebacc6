/**
 * Every call of every operation that may change a file, failing in every way that a file system fails.
 *
 *     node --import tsx scripts/faults/injected-errors.ts [OPERATION...]
 *
 * Ends with 1 when a promise was broken: another code than the right one, a temporary file, a half object, lost data.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type Extent, type Point, pointsOf, REMOVING, wrongAnswer } from './error-points.ts'
import { markdown, rows } from './fault-table.ts'
import { filesBelow } from './files-below.ts'
import { type Before, DEAD, operations } from './operations.ts'
import { NotAttached, touches, trace, whyNoStrace } from './traced-calls.ts'
import { WorkerProcess } from './worker-process.ts'

export interface InjectedError extends Point {
  readonly operation: string
  readonly dir: string
  readonly before: Before
  readonly broken: readonly string[]
  /** The error met another call, such as the wake-up of a thread: threads do not take the same turns each time. */
  readonly missed: boolean
}

/** A worker that is started anew when an error that met the runtime itself has ended it. */
class Seat implements AsyncDisposable {
  #worker = WorkerProcess.start()

  async run(operation: string, dir: string, point?: Point) {
    const worker = await this.#worker
    const before = (await worker.ask({ do: 'prepare', operation, dir }))?.before
    if (before === undefined) throw new Error(`${operation} cannot be prepared`)
    const { pid } = worker
    const threads = (await readdir(`/proc/${pid}/task`)).sort((one, other) => Number(one) - Number(other))
    // A thread that is made for the operation and ends with it has no place among them yet.
    const caller = threads[point?.thread ?? -1]
    const whom = caller === undefined ? {} : { thread: Number(caller) }
    const inject =
      point === undefined ? {} : { ...whom, inject: `${point.call}:error=${point.errno}:when=${point.nth}` }
    await using tracing = await trace({ pid, ...inject })
    const answer = await worker.ask({ do: 'run', operation, dir, before })
    if (answer === null) await this.#renew(operation, `${dir}-again`)
    const calls = [...tracing.calls]
    const met = calls.some((call) => call.line.includes('(INJECTED)') && touches(call, dir))
    return { answer, before, dir, calls, threads, met }
  }

  // All threads are there only when the operation has been done once.
  async #renew(operation: string, dir: string): Promise<void> {
    this.#worker = WorkerProcess.start()
    await this.run(operation, dir)
    await rm(dir, { recursive: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#worker)[Symbol.asyncDispose]()
  }
}

async function tryOne(seat: Seat, operation: string, scratch: string, point: Point): Promise<InjectedError> {
  const { call, nth, errno } = point
  for (const beside of [0, -1, 1]) {
    const dir = path.join(scratch, `${call}-${point.thread}-${nth}-${errno}-${beside}`)
    const ran = await seat.run(operation, dir, { ...point, nth: nth + beside }).catch(unlessNotAttached)
    if (ran?.met && ran.answer !== null) {
      const { answer, before } = ran
      const broken = [...wrongAnswer(point, answer), ...(await leftBehind(dir, call))]
      return { ...point, operation, dir, before, broken, missed: false }
    }
    await rm(dir, { recursive: true })
  }
  return { ...point, operation, dir: '', before: { refs: [] }, broken: [], missed: true }
}

// Threads come and go; then the call belongs to another one now.
function unlessNotAttached(error: unknown): null {
  if (error instanceof NotAttached) return null
  throw error
}

async function leftBehind(dir: string, call: string): Promise<readonly string[]> {
  const found = REMOVING.test(call) ? [] : await filesBelow(path.join(dir, 'store', 'staging'))
  // What a member had that died before the operation is gc's to remove, and may wait for the next one.
  const left = found.filter((file) => !file.startsWith(DEAD))
  return left.length > 0 ? [`left in staging: ${left.join(', ')}`] : []
}

/** The same, with what a later process finds in the store. */
async function judged(judge: WorkerProcess, one: InjectedError): Promise<InjectedError> {
  const { operation, dir, before } = one
  const answer = await judge.ask({ do: 'check', operation, dir, before })
  await rm(dir, { recursive: true })
  const found = answer?.broken ?? [answer?.message ?? 'the one who looks ended itself']
  return { ...one, broken: [...one.broken, ...found] }
}

/** All of them, then their judgement by a process that comes after. */
export async function allErrors(
  names: readonly string[],
  scratch: string,
  extent: Extent,
  onTried?: (one: InjectedError) => void,
) {
  const looker = WorkerProcess.start()
  const tried: InjectedError[] = []
  {
    await using seat = new Seat()
    for (const [index, operation] of names.entries()) {
      const place = path.join(scratch, String(index))
      await seat.run(operation, path.join(place, 'first'))
      const watched = await seat.run(operation, path.join(place, 'watched'))
      if (watched.answer?.failed !== undefined) throw new Error(`${operation}: ${watched.answer.message}`)
      for (const point of pointsOf(watched.calls, watched.threads, watched.dir, extent)) {
        const one = await tryOne(seat, operation, place, point)
        onTried?.(one)
        tried.push(one)
      }
    }
  }
  await using judge = await looker
  const outcomes: InjectedError[] = []
  for (const one of tried.filter(({ missed }) => !missed)) outcomes.push(await judged(judge, one))
  return { outcomes, missed: tried.filter(({ missed }) => missed) }
}

async function main(args: readonly string[]): Promise<void> {
  const reason = whyNoStrace()
  if (reason !== null) throw new Error(reason)
  const scratch = await mkdtemp(path.join(tmpdir(), 'draftbridge-faults-'))
  const { outcomes, missed } = await allErrors(
    args.length > 0 ? args : Object.keys(operations),
    scratch,
    'all',
    ({ operation, call, nth, errno, missed, broken }) => {
      const found = missed ? 'missed' : broken.join('; ') || 'as it should be'
      process.stderr.write(`${operation}: ${call} ${nth} ${errno}: ${found}\n`)
    },
  )
  await rm(scratch, { recursive: true, force: true })
  process.stdout.write(
    `${markdown(rows(outcomes.map((one) => ({ ...one, fault: `${one.call} ${one.errno}` }))), 'call and error')}\n`,
  )
  process.stdout.write(`${missed.length} points could not be met: the turns of the threads were other ones\n`)
  for (const { operation, call, nth, errno, broken } of outcomes) {
    if (broken.length > 0) process.stdout.write(`broken: ${operation}, ${call} ${nth} ${errno}: ${broken.join('; ')}\n`)
  }
  process.exitCode = outcomes.some(({ broken }) => broken.length > 0) ? 1 : 0
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2))
