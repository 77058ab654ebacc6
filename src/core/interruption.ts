import { CodedError, failuresOf, type StopSignal } from './errors.ts'

/** The signal that aborted `signal`: `listenForStop` gives its name as the reason. Any other reason counts as SIGINT. */
const stopSignalOf = (signal: AbortSignal): StopSignal => (signal.reason === 'SIGTERM' ? 'SIGTERM' : 'SIGINT')

/** INTERRUPTED, by the signal that aborted `signal`. `message` says what stopped and how to go on. */
export function interrupted(message: string, signal: AbortSignal): CodedError<'INTERRUPTED'> {
  return new CodedError('INTERRUPTED', message, { signal: stopSignalOf(signal) })
}

/** @throws INTERRUPTED with `message` when `signal` is aborted. */
export function throwIfStopped(signal: AbortSignal, message: string): void {
  if (signal.aborted) throw interrupted(message, signal)
}

/** INTERRUPTED for an error by which `signal` cut a wait short (Node's AbortError, or the reason itself); else `error`. */
export function asInterruption(error: unknown, signal: AbortSignal): unknown {
  const { first } = failuresOf(error)
  const cutShort =
    signal.aborted && (first === signal.reason || (first instanceof Error && first.name === 'AbortError'))
  if (!cutShort) return error
  return interrupted(`stopped by ${stopSignalOf(signal)}; the same command resumes from here`, signal)
}

/** Runs `task`. @throws what it throws, an error by which `signal` cut it short as INTERRUPTED. */
export async function stoppable<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    throw asInterruption(error, signal)
  }
}
