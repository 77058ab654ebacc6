/** Limits of the tasks that run at the same time. A single task may always run, whatever its weight. */
export interface Limits {
  readonly tasks: number
  readonly weight: number
}

interface StartedTask<R> {
  readonly weight: number
  readonly result: Promise<R>
}

/**
 * Runs tasks at the same time and returns their results in the order in which the tasks were started. After the first
 * failure, the results of later tasks are dropped.
 */
export class InOrder<R> {
  readonly #limits: Limits
  readonly #drop: (result: R) => Promise<unknown>
  readonly #started: StartedTask<R>[] = []
  #weight = 0

  /** `drop` gets every result that `next` does not return. */
  constructor(limits: Limits, drop: (result: R) => Promise<unknown>) {
    this.#limits = limits
    this.#drop = drop
  }

  get isEmpty(): boolean {
    return this.#started.length === 0
  }

  canBegin(weight: number): boolean {
    if (this.isEmpty) return true
    return this.#started.length < this.#limits.tasks && this.#weight + weight <= this.#limits.weight
  }

  begin(weight: number, task: () => Promise<R>): void {
    const result = task()
    // `next` handles the failure later. Until then, Node must not report an unhandled rejection.
    result.catch(() => undefined)
    this.#started.push({ weight, result })
    this.#weight += weight
  }

  /** The oldest result; undefined when no task is left. If its task failed, all later tasks are abandoned first. */
  async next(): Promise<{ readonly value: R } | undefined> {
    const oldest = this.#started[0]
    if (oldest === undefined) return undefined
    try {
      const value = await oldest.result
      this.#started.shift()
      this.#weight -= oldest.weight
      return { value }
    } catch (error) {
      await this.abandon()
      throw error
    }
  }

  /** Waits for all running tasks and drops their results. */
  async abandon(): Promise<void> {
    for (const { result } of this.#started.splice(0)) await result.then(this.#drop).catch(() => undefined)
    this.#weight = 0
  }
}
