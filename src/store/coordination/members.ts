import { type CodedError, finding } from '../../core/errors.ts'
import { isRunning, ProcessIdentity, thisProcess } from '../../core/liveness/process-identity.ts'
import type { Coordination } from './coordination.ts'

const FOLDER = 'members'
const BEAT_MS = 10_000
/** A member that cannot be looked at from here is dead when its note was not touched for this long. */
const SILENT_MS = 60_000

/**
 * Who uses the store right now. Each open store is one member: a note `members/<memberId>` that it touches every 10 s,
 * and a place of its own in the coordination, from which alone it can publish.
 *
 * join:  1 enter (the place)   2 the note.           A member without its note is dead, one without its place harmless.
 * fence: 1 the place goes away 2 the note goes away. In this order, and both may be done again: who dies in between
 *        leaves a member that publishes nothing and that the next one finds dead once more.
 * A fenced process that wakes up fails at its next publish or move, whatever it believes; its beat only tells it why.
 */
export class Members {
  readonly #coordination: Coordination
  #joined: Promise<void> | undefined
  #beat: NodeJS.Timeout | undefined
  #fenced = false

  constructor(coordination: Coordination) {
    this.#coordination = coordination
  }

  get id(): string {
    return this.#coordination.memberId
  }

  /** @throws STORE_BUSY when this process was taken for dead. */
  async join(): Promise<void> {
    this.#joined ??= this.#join().catch((error: unknown) => {
      this.#joined = undefined
      throw error
    })
    await this.#joined
    if (this.#fenced) throw this.fencedError()
  }

  /** Asks the store, not the memory: whether this process was taken for dead. */
  async wasFenced(): Promise<boolean> {
    if (this.#joined === undefined || this.#fenced) return this.#fenced
    this.#fenced = !(await this.#coordination.notes.has(noteOf(this.id)))
    return this.#fenced
  }

  fencedError(cause?: unknown): CodedError {
    const where = {
      found: `member ${this.id} is not in the store any more`,
      fix: 'it was stopped or cut off for too long, and what it held was given to others: start it again',
    }
    return finding('STORE_BUSY', 'this process was taken for dead', where, { cause })
  }

  /** True when its process has ended, as far as can be seen from here, or was silent for too long. */
  async dead(memberId: string): Promise<boolean> {
    const note = noteOf(memberId)
    const text = await this.#coordination.notes.read(note)
    if (text === null) return true
    const identity = identityIn(text)
    const running = identity === null ? null : await isRunning(identity)
    if (running !== null) return !running
    const age = await this.#coordination.notes.age(note)
    return age === null || age > SILENT_MS
  }

  /** From here on nothing that the member does has an effect, should it be alive after all. */
  async fence(memberId: string): Promise<void> {
    await this.#coordination.fence(memberId)
    await this.#coordination.notes.remove(noteOf(memberId))
  }

  /** For an error: who that is. */
  async describe(memberId: string): Promise<string> {
    const text = await this.#coordination.notes.read(noteOf(memberId))
    const identity = text === null ? null : identityIn(text)
    return identity === null ? `member ${memberId}` : `process ${identity.pid} on ${identity.host} (${memberId})`
  }

  /** All of them, dead ones too. */
  all(): Promise<readonly string[]> {
    return this.#coordination.notes.list(FOLDER)
  }

  async leave(): Promise<void> {
    clearInterval(this.#beat)
    if (this.#joined === undefined) return
    await this.#joined.catch(() => undefined)
    await this.#coordination.leave()
    await this.#coordination.notes.remove(noteOf(this.id))
  }

  async #join(): Promise<void> {
    await this.#coordination.enter()
    await this.#coordination.notes.write(noteOf(this.id), JSON.stringify(await thisProcess()))
    if (!this.#coordination.spansProcesses) return
    this.#beat = setInterval(() => this.#touch(), BEAT_MS)
    this.#beat.unref()
  }

  #touch(): void {
    this.#coordination.notes.touch(noteOf(this.id)).then(
      (there) => {
        this.#fenced ||= !there
      },
      // A beat that fails is made up for by the next one; what is wrong with the store is for the work to say.
      () => undefined,
    )
  }
}

const noteOf = (memberId: string): string => `${FOLDER}/${memberId}`

function identityIn(text: string): ProcessIdentity | null {
  try {
    return ProcessIdentity.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}
