import type { Recorder } from '../results/recorder.ts'
import { median, milliseconds, quantile } from './statistics.ts'

/** One of the compared operations: its name, and one timed run, which gives seconds. */
export type Side = readonly [name: string, turn: () => Promise<number>]

/** Seconds of each turn of one side. */
export type Times = readonly number[]

/**
 * Runs every side once per turn, so that other load on the machine meets all sides; the first three turns do not count.
 * The order changes from turn to turn, because what one side leaves in the caches helps or harms the next.
 */
export async function takeTurns(sides: readonly Side[], turns: number): Promise<ReadonlyMap<string, Times>> {
  const found = new Map<string, number[]>(sides.map(([name]) => [name, []]))
  for (let turn = -3; turn < turns; turn += 1) {
    for (const [name, run] of shuffled(sides)) {
      const value = await run()
      if (turn >= 0) found.get(name)?.push(value)
    }
  }
  return found
}

function shuffled<T>(items: readonly T[]): readonly T[] {
  const order = items.map((item) => ({ item, key: Math.random() }))
  return order.sort((one, other) => one.key - other.key).map(({ item }) => item)
}

interface Comparison {
  readonly title: string
  readonly bytes: number
  /** The side that all are compared with. */
  readonly against: string
  readonly found: ReadonlyMap<string, Times>
}

/** Adds a table: medians, the middle half of the times, and how many times as fast as `against` each side is. */
export function addComparison(recorder: Recorder, { title, bytes, against, found }: Comparison): void {
  const base = median(found.get(against) ?? [])
  const columns = ['', 'median', 'middle half', 'GB/s', `times ${against}`]
  const rows = [...found].map(([name, times]) => {
    const time = median(times)
    const middle = `${milliseconds(quantile(times, 0.25))} to ${milliseconds(quantile(times, 0.75))}`
    return [name, milliseconds(time), middle, (bytes / time / 1e9).toFixed(2), (base / time).toFixed(2)]
  })
  recorder.add({ title: `${title}, ${(bytes / 1e6).toFixed(1)} MB`, columns, rows })
}
