import { CodedError } from '../../core/errors.ts'

/** Work that a signal may cut short: what it then throws becomes the interruption that it is. */
export async function stoppable<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    const cut = signal.aborted && (error === signal.reason || (error instanceof Error && error.name === 'AbortError'))
    if (!cut) throw error
    const name = signal.reason === 'SIGTERM' ? 'SIGTERM' : 'SIGINT'
    throw new CodedError('INTERRUPTED', `stopped by ${name}; the same command goes on from here`, { signal: name })
  }
}
