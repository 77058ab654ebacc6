/** How much may be under way at once. One task always may, whatever it weighs. */
export interface Room {
  readonly tasks: number
  readonly weight: number
}

interface Begun<R> {
  readonly weight: number
  readonly result: Promise<R>
}

/**
 * Tasks that run side by side and whose results are taken in the order they were begun. The first failure ends it: later
 * results, although there, are dropped.
 */
export class InOrder<R> {
  readonly #room: Room
  readonly #drop: (result: R) => Promise<unknown>
  readonly #begun: Begun<R>[] = []
  #weight = 0

  /** `drop` is handed every result that nobody takes. */
  constructor(room: Room, drop: (result: R) => Promise<unknown>) {
    this.#room = room
    this.#drop = drop
  }

  get isEmpty(): boolean {
    return this.#begun.length === 0
  }

  hasRoomFor(weight: number): boolean {
    if (this.isEmpty) return true
    return this.#begun.length < this.#room.tasks && this.#weight + weight <= this.#room.weight
  }

  begin(weight: number, task: () => Promise<R>): void {
    const result = task()
    // Looked at in its turn; until then a failure must not count as one that nobody handles.
    result.catch(() => undefined)
    this.#begun.push({ weight, result })
    this.#weight += weight
  }

  /** The oldest result. Undefined when nothing is under way. When it is a failure, everything later is abandoned first. */
  async next(): Promise<{ readonly value: R } | undefined> {
    const oldest = this.#begun[0]
    if (oldest === undefined) return undefined
    try {
      const value = await oldest.result
      this.#begun.shift()
      this.#weight -= oldest.weight
      return { value }
    } catch (error) {
      await this.abandon()
      throw error
    }
  }

  /** Waits for everything under way and drops it. */
  async abandon(): Promise<void> {
    for (const { result } of this.#begun.splice(0)) await result.then(this.#drop).catch(() => undefined)
    this.#weight = 0
  }
}
