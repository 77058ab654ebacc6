import { setTimeout as sleep } from 'node:timers/promises'

/** Time that passes for this process alone. A value of it is compared with no other process's. */
export interface Monotonic {
  /** Milliseconds since some moment. Never runs backwards and does not follow the wall clock. */
  now(): number
  /** @throws the signal's reason when it is aborted meanwhile. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Runs `task` every `ms` until it is stopped. Keeps no process alive. */
  every(ms: number, task: () => void): { stop(): void }
}

export const monotonic: Monotonic = {
  now: () => performance.now(),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, signal ? { signal } : {}).catch((error: unknown) => {
      signal?.throwIfAborted()
      throw error
    })
  },
  every: (ms, task) => {
    const timer = setInterval(task, ms)
    timer.unref()
    return { stop: () => clearInterval(timer) }
  },
}
