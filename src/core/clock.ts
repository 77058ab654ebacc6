/** Wall-clock time, for stamps that people read. It may step at any moment, so no duration is measured by it: see `Monotonic`. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
}

export const systemClock: Clock = { now: () => Date.now() }
