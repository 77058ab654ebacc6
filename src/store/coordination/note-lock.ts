import { setTimeout as pause } from 'node:timers/promises'
import { finding } from '../../core/errors.ts'
import type { Notes } from './notes.ts'

/** The other members of the store, as a lock or a count needs them. */
export interface Peers {
  /** Makes this process a member. Does nothing the second time. */
  join(): Promise<void>
  /** True only when the member's process has surely ended, or was silent for too long. */
  dead(memberId: string): Promise<boolean>
  /** After this, nothing that the member does has an effect, even if it is still alive. */
  fence(memberId: string): Promise<void>
}

const LONGEST_PAUSE_MS = 40
/** A holder works for milliseconds, or as long as a listing of the store takes. */
const TIMEOUT_MS = 120_000

/** A lock that one member at a time holds, for milliseconds: a note that is alone in its folder. One per member. */
export class NoteLock {
  readonly #notes: Notes
  readonly #folder: string
  readonly #memberId: string
  readonly #peers: Peers
  readonly #timeoutMs: number

  constructor(notes: Notes, folder: string, memberId: string, peers: Peers, timeoutMs = TIMEOUT_MS) {
    this.#notes = notes
    this.#folder = folder
    this.#memberId = memberId
    this.#peers = peers
    this.#timeoutMs = timeoutMs
  }

  /** @throws STORE_BUSY, which names the holder, if a holder that is alive does not release the lock in time. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    // Other members treat a holder that is not a member as dead.
    await this.#peers.join()
    // Before it is taken: a call that failed may have taken the lock all the same.
    await using _released = { [Symbol.asyncDispose]: async () => void (await this.#notes.remove(this.#mine)) }
    await this.#take()
    return await task()
  }

  get #mine(): string {
    return `${this.#folder}/${this.#memberId}`
  }

  async #take(): Promise<void> {
    const until = performance.now() + this.#timeoutMs
    for (
      let limit = 1;
      !(await this.#notes.createAlone(this.#mine, ''));
      limit = Math.min(2 * limit, LONGEST_PAUSE_MS)
    ) {
      for (const holder of await this.#notes.list(this.#folder)) {
        if (await this.#tookOver(holder)) return
        if (performance.now() > until) throw busy(this.#folder, holder)
      }
      // Random, so that waiting members do not ask at the same moment.
      await pause(limit * (0.5 + Math.random() / 2))
    }
  }

  // Of several members that find the holder dead, one moves its note. The holder is fenced first, in case it wakes up.
  async #tookOver(holder: string): Promise<boolean> {
    // Our own: the call succeeded and NFS lost its answer.
    if (holder === this.#memberId) return true
    if (!(await this.#peers.dead(holder))) return false
    await this.#peers.fence(holder)
    return this.#notes.move(`${this.#folder}/${holder}`, this.#mine)
  }
}

const busy = (folder: string, holder: string) =>
  finding('STORE_BUSY', 'another process does not release a lock of the store', {
    file: `notes/${folder}`,
    found: `held by ${holder}`,
    fix: 'check whether that process is stopped or hangs, then run the command again',
  })
