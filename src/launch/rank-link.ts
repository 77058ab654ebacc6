import { CodedError } from '../core/errors.ts'
import { type FromRank, failureMessage, RANK_SPEC, ToRank } from './rank-message.ts'

const ALIVE_MS = 1000

/** A rank's side of the link to its supervisor. */
export interface RankLink {
  readonly spec: unknown
  /** Aborted when the rank is asked to end at its next safe point. */
  readonly signal: AbortSignal
  /** What the rank is doing now: named in the error if it dies or hangs there. */
  phase(phase: string): void
  event(body: unknown): void
}

/** Runs `main` as the one task of this process, reports how it ended, and ends the process. */
export async function runAsRank(main: (link: RankLink) => Promise<unknown>): Promise<never> {
  if (process.send === undefined) throw new Error('this program is a rank; `draftbridge train` starts it')
  const asked = new AbortController()
  const orphaned = () => process.kill(process.pid, 'SIGKILL')
  // The link breaks when the supervisor is gone. Nobody would ever end this process then, and its peers end likewise.
  process.on('disconnect', orphaned)
  process.on('SIGTERM', () => asked.abort('SIGTERM'))
  // Ctrl-C reaches the whole foreground group; what to make of it is the supervisor's decision.
  process.on('SIGINT', () => undefined)
  process.on('message', (message: unknown) => {
    if (ToRank.safeParse(message).success) asked.abort('SIGTERM')
  })
  const alive = setInterval(() => void tell({ type: 'alive' }), ALIVE_MS)
  const link: RankLink = {
    spec: JSON.parse(process.env[RANK_SPEC] ?? 'null'),
    signal: asked.signal,
    phase: (phase) => void tell({ type: 'phase', phase }),
    event: (body) => void tell({ type: 'event', body }),
  }
  const status = await main(link).then(
    async (result) => {
      await tell({ type: 'done', result: result ?? null })
      return 0
    },
    async (error: unknown) => {
      await tell(failureMessage(error))
      return error instanceof CodedError ? error.exitCode : 70
    },
  )
  clearInterval(alive)
  process.off('disconnect', orphaned)
  process.exit(status)
}

/** Resolves once the message is handed over; a broken link is the business of `disconnect`. */
function tell(message: FromRank): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve()
    else process.send(message, undefined, undefined, () => resolve())
  })
}
