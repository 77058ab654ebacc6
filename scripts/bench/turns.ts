/** One of several that take turns: its name, and a turn, which answers the seconds that count. */
export type Side = readonly [name: string, turn: () => Promise<number>]

export const seconds = async (task: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now()
  await task()
  return (performance.now() - begun) / 1000
}

/** Times of one side, ascending. */
export type Times = readonly number[]

const at = (times: Times, share: number): number => times[Math.floor(times.length * share)] ?? 0
export const median = (times: Times): number => at(times, 0.5)

/**
 * Every side once per turn, so that what the machine does beside it meets all; the first turns do not count. In another
 * order each time, because what a side leaves in the caches helps or harms the one after it.
 */
export async function takeTurns(sides: readonly Side[], turns: number): Promise<ReadonlyMap<string, Times>> {
  const found = new Map<string, number[]>(sides.map(([name]) => [name, []]))
  for (let turn = -3; turn < turns; turn += 1) {
    for (const [name, run] of shuffled(sides)) {
      const value = await run()
      if (turn >= 0) found.get(name)?.push(value)
    }
  }
  return new Map([...found].map(([name, all]) => [name, all.sort((a, b) => a - b)]))
}

function shuffled<T>(items: readonly T[]): readonly T[] {
  const order = items.map((item) => ({ item, key: Math.random() }))
  return order.sort((one, other) => one.key - other.key).map(({ item }) => item)
}

/** Medians, the middle half of the times, and how many times as fast as `against` each is. */
export function table(title: string, bytes: number, against: string, found: ReadonlyMap<string, Times>): void {
  const base = median(found.get(against) ?? [])
  process.stdout.write(`\n${title}, ${(bytes / 1e6).toFixed(1)} MB (${against} = 1)\n`)
  for (const [name, times] of found) {
    const time = median(times)
    const middle = `${(at(times, 0.25) * 1e3).toFixed(2)} to ${(at(times, 0.75) * 1e3).toFixed(2)}`
    const speed = `${(time * 1e3).toFixed(2).padStart(8)} ms ${(bytes / time / 1e9).toFixed(2).padStart(7)} GB/s`
    process.stdout.write(`  ${name.padEnd(28)} ${speed} ${(base / time).toFixed(2).padStart(6)}   ${middle}\n`)
  }
}
