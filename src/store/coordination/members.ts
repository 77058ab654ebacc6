import { type CodedError, finding } from '../../core/errors.ts'
import { Heartbeat } from '../../core/liveness/heartbeat.ts'
import { describeNote, ownNote, parseNote } from '../../core/liveness/holder-note.ts'
import {
  clearWitness,
  describeVerdict,
  processWatch,
  type Verdict,
  type WaitOptions,
  type Watch,
} from '../../core/liveness/watch.ts'
import type { Coordination } from './coordination.ts'

const FOLDER = 'members'

/**
 * Who uses the store right now. Each open store is one member: a note `members/<memberId>` with its heartbeat, and a
 * place of its own in the coordination, the only one it can publish from. core/liveness decides which members are alive,
 * as for every claim.
 *
 * join:  1 make the place   2 write the note. A member without a note counts as dead; without a place it cannot publish.
 * fence: 1 take the place away   2 remove the note. Both steps can be repeated. If the fencing process dies between
 *        them, the member can publish nothing, and another process finds it dead and fences it again.
 * A fenced process that wakes up fails at its next publish or move. Its heartbeat finds no note and tells it why.
 * An id is never used again, so it is the epoch of its member: a fence ends it for ever.
 */
export class Members {
  readonly #coordination: Coordination
  readonly #watch: Watch
  #joined: Promise<void> | undefined
  #heartbeat: Heartbeat | undefined
  #fenced = false

  constructor(coordination: Coordination, watch: Watch = processWatch) {
    this.#coordination = coordination
    this.#watch = watch
  }

  get id(): string {
    return this.#coordination.memberId
  }

  /**
   * @throws STORE_BUSY when this process was taken for dead, STORE_UNAVAILABLE when it will be: a store that has become
   * read-only takes no heartbeat, and a client that only reads would not notice.
   */
  async join(): Promise<void> {
    this.#joined ??= this.#join().catch((error: unknown) => {
      this.#joined = undefined
      throw error
    })
    await this.#joined
    if (this.#fenced || this.#heartbeat?.isFenced === true) throw this.fencedError()
    const readOnly = this.#heartbeat?.readOnly ?? null
    if (readOnly !== null) throw readOnly
  }

  /** Whether this process was taken for dead, as the store says now. */
  async wasFenced(): Promise<boolean> {
    if (this.#joined === undefined || this.#fenced) return this.#fenced
    if (await this.#coordination.notes.has(noteOf(this.id))) return false
    await this.#expectStore()
    this.#fenced = true
    return true
  }

  // Where a mount is gone, so are all notes, and nobody was taken for dead.
  async #expectStore(): Promise<void> {
    await this.#coordination.notes.list(FOLDER)
  }

  fencedError(cause?: unknown): CodedError {
    const where = {
      found: `member ${this.id} was removed from the store`,
      fix: 'it was stopped or could not reach the store for too long, and lost its leases and claims: start it again',
    }
    return finding('STORE_BUSY', 'this process was taken for dead', where, { cause })
  }

  /** What is known of a member now. Does not wait: one that cannot be seen from here is `unknown` at first. */
  async look(memberId: string): Promise<Verdict> {
    const read = () => this.#coordination.notes.read(noteOf(memberId))
    if (this.#coordination.spansProcesses) return this.#watch.look(memberId, read)
    return { state: (await read()) === null ? 'dead' : 'living' }
  }

  /** True only when its process has ended, or its heartbeat was watched to stand still for the whole silence time. */
  async dead(memberId: string): Promise<boolean> {
    return (await this.look(memberId)).state === 'dead'
  }

  /**
   * Watches all other members that cannot be seen from here, together, until each is known to be alive or dead. For
   * a command that must find all dead members in one run.
   */
  async settle(wait: WaitOptions): Promise<void> {
    const others = (await this.all()).filter((id) => id !== this.id)
    await this.#watch.settle(others, (id) => this.look(id), wait)
  }

  /** After this, nothing that the member does has an effect, even if it is still alive. */
  async fence(memberId: string): Promise<void> {
    const text = await this.#coordination.notes.read(noteOf(memberId))
    await this.#coordination.fence(memberId)
    await this.#coordination.notes.remove(noteOf(memberId))
    clearWitness(text)
  }

  /** The member as an error names it; with `verdict`, also why it does not count as dead. */
  async describe(memberId: string, verdict?: Verdict): Promise<string> {
    const text = await this.#coordination.notes.read(noteOf(memberId))
    const note = text === null ? null : parseNote(text)
    const name = note === null ? `member ${memberId}` : `${describeNote(note)} (${memberId})`
    return verdict === undefined ? name : `${name}; ${describeVerdict(verdict)}`
  }

  /** All of them, dead ones too. */
  all(): Promise<readonly string[]> {
    return this.#coordination.notes.list(FOLDER)
  }

  async leave(): Promise<void> {
    if (this.#joined === undefined) return
    await this.#joined.catch(() => undefined)
    // Ended last: a note without its witness would be somebody who has to be watched.
    await using _beat = { [Symbol.asyncDispose]: async () => this.#heartbeat?.stop() }
    await this.#coordination.leave()
    await this.#coordination.notes.remove(noteOf(this.id))
  }

  async #join(): Promise<void> {
    const { notes, spansProcesses } = this.#coordination
    await this.#coordination.inReserve(() => this.#coordination.enter())
    if (!spansProcesses) {
      await notes.write(noteOf(this.id), JSON.stringify(ownNote({ witness: null })))
      return
    }
    const write = async (text: string) => {
      if (await notes.rewrite(noteOf(this.id), text)) return true
      await this.#expectStore()
      return false
    }
    const heartbeat = await Heartbeat.prepare({ write })
    try {
      await this.#coordination.inReserve(() => notes.write(noteOf(this.id), heartbeat.text))
    } catch (error) {
      await heartbeat.stop()
      throw error
    }
    this.#heartbeat = heartbeat
    heartbeat.start()
  }
}

const noteOf = (memberId: string): string => `${FOLDER}/${memberId}`
