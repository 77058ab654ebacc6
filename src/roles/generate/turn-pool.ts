/** A conversation whose next answer is wanted. */
export interface OpenConversation {
  /** Its name in the file that is written. */
  readonly id: string
  /** `file:line`, for messages. */
  readonly where: string
  readonly json: string
  /** The messages that the target wrote so far, as JSON. */
  readonly answers: readonly string[]
  readonly tokens: number
}

const lengthOf = ({ json, answers }: OpenConversation): number =>
  json.length + answers.reduce((sum, answer) => sum + answer.length, 0)

/**
 * Conversations that wait for the target, so that those of about one length are written together. The one that waits
 * longest is always among them.
 */
export class TurnPool {
  readonly #batch: number
  readonly #batches: number
  #waiting: OpenConversation[] = []

  constructor(batch: number, batches: number) {
    this.#batch = batch
    this.#batches = batches
  }

  get isFull(): boolean {
    return this.#waiting.length >= this.#batch * this.#batches
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  add(conversation: OpenConversation): void {
    this.#waiting.push(conversation)
  }

  take(): readonly OpenConversation[] {
    const [oldest] = this.#waiting
    if (oldest === undefined) return []
    const wanted = lengthOf(oldest)
    const distance = (one: OpenConversation) => Math.abs(lengthOf(one) - wanted)
    const nearest = new Set(
      [oldest, ...this.#waiting.slice(1).sort((a, b) => distance(a) - distance(b))].slice(0, this.#batch),
    )
    const taken = this.#waiting.filter((one) => nearest.has(one))
    this.#waiting = this.#waiting.filter((one) => !nearest.has(one))
    return taken
  }
}
