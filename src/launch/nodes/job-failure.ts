import { CodedError, finding } from '../../core/errors.ts'
import { interrupted } from '../../core/interruption.ts'
import type { JobFailure } from './job-message.ts'

/** When one rank dies, collectives raise an exception in all others, on other nodes too: that is rarely the cause. */
const EFFECT = 'PYTHON_RAISED'
/** How long the cause is waited for after an effect of it. */
const CAUSE_MS = 3000

export const nodeText = ({ node, host }: Pick<JobFailure, 'node' | 'host'>): string => `training node ${node} (${host})`

/** What an error is for the other nodes. */
export function failureOf(place: Pick<JobFailure, 'node' | 'host'>, error: unknown): JobFailure {
  const message = error instanceof Error ? error.message : String(error)
  return { node: place.node, host: place.host, code: error instanceof CodedError ? error.code : 'BUG', message }
}

/** The error of this node for a failure of another one. */
export function peerError(failure: JobFailure): CodedError {
  const { code, message } = failure
  const who = nodeText(failure)
  if (code === 'INTERRUPTED') return interrupted(`${who} was stopped: ${message}`, AbortSignal.abort('SIGTERM'))
  // Not the fault of that node alone.
  if (code === 'CONFIG_INVALID') return new CodedError('CONFIG_INVALID', `${who}: ${message}`, {})
  return finding('PEER_FAILED', `${who} has failed, so all nodes that train have stopped`, {
    found: code === 'PEER_FAILED' ? message : `${code}: ${message}`,
    fix: 'mend what that node reports, then start the same command on all nodes: the run goes on from its last checkpoint',
  })
}

/** Of all failures of one job, which one is the cause of the others. */
export class JobVerdict {
  readonly decided: Promise<JobFailure>
  #decide: (failure: JobFailure) => void = () => undefined
  #first: JobFailure | null = null

  constructor() {
    this.decided = new Promise((resolve) => {
      this.#decide = resolve
    })
  }

  report(failure: JobFailure): void {
    if (failure.code !== EFFECT) this.#decide(failure)
    if (this.#first !== null) return
    this.#first = failure
    setTimeout(() => this.#decide(failure), CAUSE_MS).unref()
  }
}
