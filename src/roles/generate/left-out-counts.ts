import { PLACES } from '../../core/produced-health.ts'
import { type LeftOut, WHY } from './answer-filter.ts'

export interface CountedPlaces {
  readonly why: string
  readonly count: number
  /** The first of them. */
  readonly places: readonly string[]
}

/** Counts the conversations that are left out, by reason. */
export class LeftOutCounts {
  readonly #kinds = new Map<LeftOut, { count: number; readonly places: string[] }>()

  get total(): number {
    return [...this.#kinds.values()].reduce((sum, { count }) => sum + count, 0)
  }

  get kinds(): readonly CountedPlaces[] {
    return [...this.#kinds].map(([kind, { count, places }]) => ({ why: WHY[kind], count, places }))
  }

  add(why: LeftOut, place: string): void {
    const kind = this.#kinds.get(why) ?? { count: 0, places: [] }
    kind.count += 1
    if (kind.places.length < PLACES) kind.places.push(place)
    this.#kinds.set(why, kind)
  }
}
