import type { Monotonic } from '../../../src/core/liveness/monotonic.ts'

const FACTOR = 10

/** Time in which ten seconds pass in one. */
export const shortened = (time: Monotonic): Monotonic => ({
  now: () => time.now() * FACTOR,
  sleep: (ms, signal) => time.sleep(ms / FACTOR, signal),
  every: (ms, task) => time.every(ms / FACTOR, task),
})
