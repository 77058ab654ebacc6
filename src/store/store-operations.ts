import { setTimeout as sleep } from 'node:timers/promises'
import { type CodedError, failuresOf, finding, hasCode, isErrno } from '../core/errors.ts'
import { storageError } from '../core/files/storage-error.ts'
import type { Members } from './coordination/members.ts'

/** How long a fence may take between its two steps. */
const FENCE_TRIES = 5
const FENCE_MS = 20

/** Runs every operation of a store: none begins once the store is closed, or once this process was fenced. */
export class StoreOperations {
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

  // A fenced process fails with whatever call it made next. The error must say that it was fenced.
  async #explained(thrown: unknown): Promise<unknown> {
    const error = failuresOf(thrown).first
    if (this.#closed || hasCode(error, 'STORE_BUSY', 'REF_INVALID', 'STORE_OVER_BUDGET'))
      return storageError(thrown, 'the store')
    return (await this.#reason(error)) ?? storageError(thrown, 'the store')
  }

  async #reason(error: unknown): Promise<unknown> {
    // A fence removes the member's folder first and its note second, so the note may still be there for a moment.
    const isMissing = isGone(error)
    for (let round = 0; round < (isMissing ? FENCE_TRIES : 1); round += 1) {
      if (round > 0) await sleep(FENCE_MS)
      const found: unknown = await this.#members.wasFenced().catch((failed: unknown) => failed)
      if (found === true) return this.#members.fencedError(error)
      // What is missing then is the store itself.
      if (hasCode(found, 'STORE_UNAVAILABLE') && (isMissing || hasCode(error, 'SAMPLE_NOT_FOUND'))) return found
    }
    return null
  }
}

const isGone = (error: unknown): boolean =>
  isErrno(error, 'ENOENT') || (error instanceof Error && isErrno(error.cause, 'ENOENT'))

export function closedError(operation: string): CodedError {
  return finding('STORE_CLOSED', `${operation}: the store is closed`, { fix: 'open it again' })
}
