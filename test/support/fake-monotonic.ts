import type { Monotonic } from '../../src/core/liveness/monotonic.ts'

/** Monotonic time that passes only when somebody sleeps or a test says so. Timers run when their time comes. */
export class FakeMonotonic implements Monotonic {
  readonly #timers = new Set<{ readonly ms: number; readonly task: () => void; due: number }>()
  #now = 0
  /** Told of every sleep, with the time after it. */
  onSleep: (now: number) => void | Promise<void> = () => undefined

  now(): number {
    return this.#now
  }

  advance(ms: number): void {
    const until = this.#now + ms
    for (;;) {
      const [next] = [...this.#timers].filter(({ due }) => due <= until).sort((a, b) => a.due - b.due)
      if (next === undefined) break
      this.#now = next.due
      next.due += next.ms
      next.task()
    }
    this.#now = until
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    this.advance(ms)
    await this.onSleep(this.#now)
    await new Promise((resolve) => setImmediate(resolve))
    signal?.throwIfAborted()
  }

  every(ms: number, task: () => void): { stop(): void } {
    const timer = { ms, task, due: this.#now + ms }
    this.#timers.add(timer)
    return { stop: () => void this.#timers.delete(timer) }
  }
}
