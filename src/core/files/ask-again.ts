import { setTimeout as pause } from 'node:timers/promises'
import { isErrno } from '../errors.ts'

/** Longer in all than network file systems cache what a name stands for. */
const PAUSES_MS = [10, 50, 150, 400, 800] as const

/**
 * Runs `task` again while it ends in ESTALE: what a name stood for is gone from the server, and a new try asks what the
 * name stands for now. ESTALE itself is no answer: it also comes of a server that was started anew. @throws it in the end.
 */
export async function askAgain<T>(task: () => Promise<T>): Promise<T> {
  for (const ms of PAUSES_MS) {
    try {
      return await task()
    } catch (error) {
      if (!isErrno(error, 'ESTALE')) throw error
      await pause(ms)
    }
  }
  return task()
}
