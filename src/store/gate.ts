import { type CodedError, finding, hasCode } from '../core/errors.ts'
import type { Members } from './members.ts'

/** Every operation of a store goes through here: none begins once it is closed, or once it was taken for dead. */
export class Gate {
  readonly #members: Members
  readonly #active = new Set<Promise<unknown>>()
  #closed = false

  constructor(members: Members) {
    this.#members = members
  }

  get closed(): boolean {
    return this.#closed
  }

  expectOpen(operation: string): void {
    if (this.#closed) throw closedError(operation)
  }

  async run<T>(operation: string, task: () => Promise<T>): Promise<T> {
    this.expectOpen(operation)
    const running = this.#members.join().then(task)
    this.#active.add(running)
    try {
      return await running
    } catch (error) {
      throw await this.#explained(error)
    } finally {
      this.#active.delete(running)
    }
  }

  /** Lets nothing new begin and waits for what is under way. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled([...this.#active])
  }

  // A fenced process fails wherever its place or its notes were last seen. Why is what its user has to know.
  async #explained(error: unknown): Promise<unknown> {
    if (this.#closed || hasCode(error, 'STORE_BUSY', 'REF_INVALID', 'STORE_OVER_BUDGET')) return error
    const fenced = await this.#members.wasFenced().catch(() => false)
    return fenced ? this.#members.fencedError(error) : error
  }
}

export function closedError(operation: string): CodedError {
  return finding('STORE_CLOSED', `${operation}: the store is closed`, { fix: 'open it again' })
}
