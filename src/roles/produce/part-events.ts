import type { Monotonic } from '../../core/liveness/monotonic.ts'
import type { EventBody, EventSink } from '../../report/events/events.ts'
import { type Figures, mergeRefused, type Refused, sumFigures } from '../../report/events/produced-parts.ts'

const PROGRESS_MS = 1000

type Of<K extends EventBody['event']> = Extract<EventBody, { event: K }>

export interface PartEventsOptions {
  /** How many parts there are. */
  readonly count: number
  readonly manifest: string
  readonly events: EventSink
  readonly time: Pick<Monotonic, 'now'>
}

/** Makes the events of one producer out of those of all parts: figures summed, each kind of bad input once. */
export class PartEvents {
  readonly #options: PartEventsOptions
  readonly #begun: number
  readonly #started = new Map<number, Of<'produce.started'>>()
  readonly #figures = new Map<number, Figures>()
  readonly #refused: Refused[] = []
  readonly #copied = new Map<string, number>()
  #reported = Number.NEGATIVE_INFINITY

  constructor(options: PartEventsOptions) {
    this.#options = options
    this.#begun = options.time.now()
  }

  take(index: number, body: EventBody): void {
    switch (body.event) {
      case 'produce.started':
        this.#started.set(index, body)
        if (this.#hasStarted) this.#emit({ event: 'produce.started', source: body.source, total: this.#total })
        return
      case 'produce.progress':
      case 'produce.finished':
        this.#figures.set(index, body)
        this.#report()
        return
      case 'produce.refused':
        this.#refused.push(body)
        return
      case 'produce.copied':
        this.#copied.set(body.why, (this.#copied.get(body.why) ?? 0) + body.samples)
        return
      default:
        this.#emit(body)
    }
  }

  /** All parts are complete. */
  finish(): void {
    const { manifest, time } = this.#options
    this.#emitProgress()
    this.endEarly()
    for (const [why, samples] of this.#copied) this.#emit({ event: 'produce.copied', samples, why })
    const seconds = (time.now() - this.#begun) / 1000
    this.#emit({ event: 'produce.finished', manifest, seconds, ...sumFigures(this.#figures.values()) })
  }

  /** Says which inputs were bad, also when the parts have failed or were stopped. */
  endEarly(): void {
    for (const kind of mergeRefused(this.#refused)) this.#emit({ event: 'produce.refused', ...kind })
  }

  get #hasStarted(): boolean {
    return this.#started.size === this.#options.count
  }

  get #total(): number | null {
    let sum = 0
    for (const { total } of this.#started.values()) {
      if (total === null) return null
      sum += total
    }
    return sum
  }

  /** Before all parts have started the total is not known, and a part may be a second ahead of the others. */
  #report(): void {
    const now = this.#options.time.now()
    if (!this.#hasStarted || now - this.#reported < PROGRESS_MS) return
    this.#reported = now
    this.#emitProgress()
  }

  #emitProgress(): void {
    this.#emit({ event: 'produce.progress', total: this.#total, ...sumFigures(this.#figures.values()) })
  }

  #emit(body: EventBody): void {
    this.#options.events.emit(body)
  }
}
