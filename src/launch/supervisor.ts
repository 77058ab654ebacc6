import { setTimeout as sleep } from 'node:timers/promises'
import { CodedError } from '../core/errors.ts'
import { makeFolder } from '../core/files/make-folder.ts'
import { interrupted } from '../core/interruption.ts'
import { type Ending, RankProcess, type RankStart } from './rank-process.ts'

/** Failures within this time after the first one are compared, to report the cause and not an effect of it. */
const BLAME_MS = 400
const WATCH_MS = 1000
const LOST_GRACE_MS = 1000
/** Long, because the first import of torch from a cold disk blocks the event loop of a rank, heartbeats included. */
const SILENCE_SECONDS = 300

export interface SuperviseOptions {
  /** The program of one rank. */
  readonly program: string
  /** One process per rank. It gets its spec as JSON, and `env` beside the environment of this process. */
  readonly ranks: readonly Pick<RankStart, 'rank' | 'spec' | 'env'>[]
  /** What the processes are, for errors and the names of their logs. Default: rank. */
  readonly called?: RankStart['called']
  readonly graceSeconds: number
  /** A rank without a message for this long is RANK_HUNG. Python does not block its event loop while it computes. */
  readonly silenceSeconds?: number
  /** When aborted, every rank is asked to stop at its next safe point. */
  readonly signal: AbortSignal
  /** When aborted, nothing that the ranks still do counts: they are ended as after a failure, with the reason as its cause. */
  readonly lost?: AbortSignal
  /** The folder for the output of the ranks. */
  readonly logDir?: string
  readonly onEvent?: (rank: number, body: unknown) => void
  /** Called with the error that this is going to end with, before the ranks are ended. */
  readonly onCause?: (cause: CodedError) => void
}

/**
 * Runs the ranks of this node to their end and returns the result of each.
 * The first failure ends all ranks: SIGTERM, then SIGKILL after the grace. All processes have exited when this settles.
 * @throws CONFIG_INVALID when the log folder cannot be created, the coded error of the rank that failed first, RANK_DIED
 * if that rank ended without one, RANK_HUNG; when `lost` is aborted its reason, else INTERRUPTED.
 */
export async function supervise(options: SuperviseOptions): Promise<readonly unknown[]> {
  const { ranks, program, graceSeconds, signal, called = 'rank', logDir = null, onEvent = () => undefined } = options
  const graceMs = graceSeconds * 1000
  if (logDir !== null) await makeFolder(logDir, 'run.dir')
  const processes = ranks.map((rank) => new RankProcess({ ...rank, called, program, logDir, onEvent }))
  const stop = () => {
    for (const process of processes) process.stop()
  }
  signal.addEventListener('abort', stop)
  if (signal.aborted) stop()
  try {
    const { silenceSeconds = SILENCE_SECONDS, lost } = options
    const cause = await firstCause(processes, silenceSeconds * 1000, lost)
    if (cause) {
      options.onCause?.(cause)
      for (const process of processes) process.terminate()
      throw cause
    }
    const endings = await Promise.all(processes.map((process) => process.ending))
    return endings.map((ending) => (ending.ok ? ending.result : undefined))
  } finally {
    signal.removeEventListener('abort', stop)
    // What the ranks still do counts no more, and they may wait for a rank that is gone.
    const rest = options.lost?.aborted === true ? Math.min(graceMs, LOST_GRACE_MS) : graceMs
    await Promise.all(processes.map((process) => untilExited(process, rest)))
  }
}

/** Waits until all ranks have ended, one has failed or `lost` is aborted. The cause; undefined if there is none. */
function firstCause(
  processes: readonly RankProcess[],
  silenceMs: number,
  lost = new AbortController().signal,
): Promise<CodedError | undefined> {
  const known: Ending[] = []
  let watchdog: NodeJS.Timeout | undefined
  const decided = new Promise<CodedError | undefined>((resolve) => {
    const decide = () => resolve(causeAmong(known))
    const onLost = () => resolve(causeOf(lost))
    lost.addEventListener('abort', onLost, { once: true })
    if (lost.aborted) onLost()
    const record = (ending: Ending) => {
      known.push(ending)
      if (known.length === processes.length) decide()
      else if (!ending.ok) setTimeout(decide, BLAME_MS)
    }
    for (const process of processes) process.ending.then(record)
    watchdog = setInterval(() => {
      for (const process of processes) if (!process.ended && process.silentMs > silenceMs) record(process.hung())
    }, WATCH_MS)
  })
  return decided.finally(() => clearInterval(watchdog))
}

const causeOf = (lost: AbortSignal): CodedError =>
  lost.reason instanceof CodedError ? lost.reason : interrupted('the work of the ranks counts no more', lost)

function causeAmong(endings: readonly Ending[]): CodedError | undefined {
  // The sort is stable: of equal failures, the first one wins.
  return endings.filter((ending) => !ending.ok).sort((a, b) => a.blame - b.blame)[0]?.error
}

/** Waits for a process that has reported its end. Kills it after the grace, because process.exit waits for Python. */
async function untilExited(process: RankProcess, graceMs: number): Promise<void> {
  const timer = new AbortController()
  const killed = sleep(graceMs, undefined, { signal: timer.signal }).then(
    () => process.kill(),
    () => undefined,
  )
  await process.exited
  timer.abort()
  await killed
}
