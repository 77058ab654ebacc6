import { isErrno } from '../errors.ts'
import { beatText, type HolderNote, ownNote } from './holder-note.ts'
import { type Monotonic, monotonic } from './monotonic.ts'
import { Witness } from './witness.ts'

/** A sixth of the silence after which a holder is taken for dead: see `SILENT_MS`. */
export const BEAT_MS = 5000

export interface HeartbeatOptions {
  readonly memberId?: string
  /** Replaces the text of the holder's note. False when the note is gone: its holder was fenced. Never makes a note. */
  readonly write: (text: string) => Promise<boolean>
  readonly time?: Monotonic
  /** Called once, when a beat has found the note gone. */
  readonly onFenced?: () => void
}

/** Says that the holder of something lives: a counter in its note that moves, and a witness for its own machine. */
export class Heartbeat {
  readonly #note: HolderNote
  readonly #witness: Witness | null
  readonly #write: HeartbeatOptions['write']
  readonly #time: Monotonic
  readonly #onFenced: () => void
  #count = 0
  #last: Promise<boolean> = Promise.resolve(true)
  #isBeating = false
  #isFenced = false
  #readOnly: Error | null = null
  #timer: { stop(): void } | undefined

  static async prepare(options: HeartbeatOptions): Promise<Heartbeat> {
    const { memberId } = options
    const witness = await Witness.open()
    const note = ownNote({ witness: witness?.token ?? null, ...(memberId === undefined ? {} : { memberId }) })
    return new Heartbeat(note, witness, options)
  }

  private constructor(note: HolderNote, witness: Witness | null, options: HeartbeatOptions) {
    const { write, time = monotonic, onFenced = () => undefined } = options
    this.#note = note
    this.#witness = witness
    this.#write = write
    this.#time = time
    this.#onFenced = onFenced
  }

  /** What the note must say before `start`. */
  get text(): string {
    return JSON.stringify({ ...this.#note, beat: beatText(this.#count) })
  }

  /** True once a beat has found the note gone. */
  get isFenced(): boolean {
    return this.#isFenced
  }

  /** Why the last beat failed, where no later one can succeed: the file system is read-only now. */
  get readOnly(): Error | null {
    return this.#readOnly
  }

  /** The note must be in place. */
  start(): void {
    this.#timer = this.#time.every(BEAT_MS, () => {
      // One that fails is made up for by the next one; what is wrong with the place is for the work to say.
      if (!this.#isBeating) this.beat().catch(() => undefined)
    })
  }

  /** One beat, asked of the server and not of a cache: false when this holder was fenced. */
  beat(): Promise<boolean> {
    this.#last = this.#last.then(
      () => this.#beatOnce(),
      () => this.#beatOnce(),
    )
    return this.#last
  }

  async stop(): Promise<void> {
    this.#timer?.stop()
    await this.#witness?.[Symbol.asyncDispose]()
  }

  async #beatOnce(): Promise<boolean> {
    if (this.#isFenced) return false
    this.#isBeating = true
    try {
      this.#count += 1
      this.#isFenced = !(await this.#write(this.text))
      this.#readOnly = null
      if (this.#isFenced) this.#onFenced()
      return !this.#isFenced
    } catch (error) {
      const failed = error instanceof Error ? error : new Error(String(error))
      this.#readOnly = isErrno(failed, 'EROFS') || isErrno(failed.cause, 'EROFS') ? failed : null
      throw failed
    } finally {
      this.#isBeating = false
    }
  }
}
