import type { Clock } from '../../src/core/clock.ts'

/** A wall clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #now = 1_700_000_000_000

  now(): number {
    return this.#now
  }

  /** A negative step sets it back. */
  advance(ms: number): void {
    this.#now += ms
  }
}
