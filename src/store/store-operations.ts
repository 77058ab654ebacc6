import { setTimeout as sleep } from 'node:timers/promises'
import { type CodedError, finding, hasCode, isErrno } from '../core/errors.ts'
import { storageError } from '../core/files/storage-error.ts'
import type { Members } from './coordination/members.ts'

/** How long a fence may be between its two steps. */
const FENCE_TRIES = 5
const FENCE_MS = 20

/** Every operation of a store goes through here: none begins once it is closed, or once it was taken for dead. */
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

  // A fenced process fails wherever its place or its notes were last seen. Why is what its user has to know.
  async #explained(error: unknown): Promise<unknown> {
    if (this.#closed || hasCode(error, 'STORE_BUSY', 'REF_INVALID', 'STORE_OVER_BUDGET')) return error
    // Its place goes before its note does: what fails in between has the note still before it.
    const tries = isGone(error) || (error instanceof Error && isGone(error.cause)) ? FENCE_TRIES : 1
    for (let round = 0; round < tries; round += 1) {
      if (round > 0) await sleep(FENCE_MS)
      if (await this.#members.wasFenced().catch(() => false)) return this.#members.fencedError(error)
    }
    return storageError(error, 'the store')
  }
}

const isGone = (error: unknown): boolean => isErrno(error, 'ENOENT')

export function closedError(operation: string): CodedError {
  return finding('STORE_CLOSED', `${operation}: the store is closed`, { fix: 'open it again' })
}
