import type { Clock } from '../../src/core/clock.ts'

/** Time that passes only when somebody sleeps. `onSleep` is told of every sleep, with the time after it. */
export class FakeClock implements Clock {
  #now = 1_700_000_000_000
  onSleep: (now: number) => void | Promise<void> = () => undefined

  now(): number {
    return this.#now
  }

  advance(ms: number): void {
    this.#now += ms
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    requireGoing(signal)
    this.#now += ms
    await this.onSleep(this.#now)
    requireGoing(signal)
  }
}

// The error of node:timers/promises.
function requireGoing(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new DOMException('The operation was aborted', 'AbortError')
}
