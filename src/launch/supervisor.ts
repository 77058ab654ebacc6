import { setTimeout as sleep } from 'node:timers/promises'
import type { CodedError } from '../core/errors.ts'
import { makeFolder } from '../core/files/make-folder.ts'
import { type Ending, RankProcess } from './rank-process.ts'

/** Failures that come within this time of the first are looked at together, to name the cause and not an effect. */
const BLAME_MS = 400
const WATCH_MS = 1000
/** Long, because the first import of torch from a cold disk stops a rank's event loop for its whole length. */
const SILENCE_SECONDS = 300

export interface SuperviseOptions {
  /** The program of one rank. */
  readonly program: string
  /** One process each; its spec reaches it as JSON. */
  readonly ranks: readonly { readonly rank: number; readonly spec: unknown }[]
  readonly graceSeconds: number
  /** A rank that says nothing for so long is RANK_HUNG. Its event loop is free while Python computes. */
  readonly silenceSeconds?: number
  /** Aborted: every rank is asked to end at its next safe point. */
  readonly signal: AbortSignal
  /** Where the ranks' own output goes. */
  readonly logDir?: string
  readonly onEvent?: (rank: number, body: unknown) => void
}

/**
 * Runs the ranks of this node to their end and returns what each reported as its result.
 * The first failure ends all: SIGTERM, the grace, SIGKILL. No process is left when this returns or throws.
 * @throws CONFIG_INVALID for a folder of logs that cannot be made, the coded error of the rank that failed first, RANK_DIED
 * if it ended without one, RANK_HUNG.
 */
export async function supervise(options: SuperviseOptions): Promise<readonly unknown[]> {
  const { ranks, program, graceSeconds, signal, logDir = null, onEvent = () => undefined } = options
  const graceMs = graceSeconds * 1000
  if (logDir !== null) await makeFolder(logDir, 'run.dir')
  const processes = ranks.map(({ rank, spec }) => new RankProcess({ rank, spec, program, logDir, onEvent }))
  const stop = () => {
    for (const process of processes) process.stop()
  }
  signal.addEventListener('abort', stop)
  if (signal.aborted) stop()
  try {
    const cause = await firstCause(processes, (options.silenceSeconds ?? SILENCE_SECONDS) * 1000)
    if (cause) {
      for (const process of processes) process.terminate()
      throw cause
    }
    const endings = await Promise.all(processes.map((process) => process.ending))
    return endings.map((ending) => (ending.ok ? ending.result : undefined))
  } finally {
    signal.removeEventListener('abort', stop)
    await Promise.all(processes.map((process) => untilGone(process, graceMs)))
  }
}

/** The failure that the others followed from; undefined once every rank is done. */
function firstCause(processes: readonly RankProcess[], silenceMs: number): Promise<CodedError | undefined> {
  const known: Ending[] = []
  let watch: NodeJS.Timeout | undefined
  const decided = new Promise<CodedError | undefined>((resolve) => {
    const decide = () => resolve(causeAmong(known))
    const note = (ending: Ending) => {
      known.push(ending)
      if (known.length === processes.length) decide()
      else if (!ending.ok) setTimeout(decide, BLAME_MS)
    }
    for (const process of processes) process.ending.then(note)
    watch = setInterval(() => {
      for (const process of processes) if (!process.ended && process.silentMs > silenceMs) note(process.hung())
    }, WATCH_MS)
  })
  return decided.finally(() => clearInterval(watch))
}

function causeAmong(endings: readonly Ending[]): CodedError | undefined {
  // The sort is stable: among equals, the one that came first.
  return endings.filter((ending) => !ending.ok).sort((a, b) => a.blame - b.blame)[0]?.error
}

/** A process that has said its last word gets the grace to end. Then it is killed: process.exit waits for Python. */
async function untilGone(process: RankProcess, graceMs: number): Promise<void> {
  const over = new AbortController()
  const late = sleep(graceMs, undefined, { signal: over.signal }).then(
    () => process.kill(),
    () => undefined,
  )
  await process.gone
  over.abort()
  await late
}
