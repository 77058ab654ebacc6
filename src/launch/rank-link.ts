import { CodedError } from '../core/errors.ts'
import { storageError } from '../core/files/storage-error.ts'
import { type FromRank, failureMessage, RANK_SPEC, ToRank } from './rank-message.ts'

const HEARTBEAT_MS = 1000

/** The connection of a rank to its supervisor, as the rank sees it. */
export interface RankLink {
  readonly spec: unknown
  /** Aborted when the supervisor asks the rank to stop at its next safe point. */
  readonly signal: AbortSignal
  /** Reports what the rank is doing now. The supervisor names it in the error if the rank dies or hangs. */
  phase(phase: string): void
  event(body: unknown): void
}

/** Runs `main` as the only task of this process, reports its result to the supervisor, and ends the process. */
export async function runAsRank(main: (link: RankLink) => Promise<unknown>): Promise<never> {
  if (process.send === undefined) throw new Error('this program is one rank; start it with `draftbridge train`')
  const stop = new AbortController()
  process.on('SIGTERM', () => stop.abort('SIGTERM'))
  // Ctrl-C reaches all processes of the terminal. Only the supervisor reacts to it, and then stops the ranks.
  process.on('SIGINT', () => undefined)
  process.on('message', (message: unknown) => {
    if (ToRank.safeParse(message).success) stop.abort('SIGTERM')
  })
  const heartbeat = setInterval(() => void send({ type: 'alive' }), HEARTBEAT_MS)
  const link: RankLink = {
    spec: JSON.parse(process.env[RANK_SPEC] ?? 'null'),
    signal: stop.signal,
    phase: (phase) => void send({ type: 'phase', phase }),
    event: (body) => void send({ type: 'event', body }),
  }
  const status = await main(link).then(
    async (result) => {
      await send({ type: 'done', result: result ?? null })
      return 0
    },
    async (thrown: unknown) => {
      const error = storageError(thrown, 'unknown path', 'a file or folder')
      await send(failureMessage(error))
      return error instanceof CodedError ? error.exitCode : 70
    },
  )
  clearInterval(heartbeat)
  process.exit(status)
}

/** Resolves when the message is sent, and also when the connection is broken: this process then ends with its supervisor. */
function send(message: FromRank): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve()
    else process.send(message, undefined, undefined, () => resolve())
  })
}
