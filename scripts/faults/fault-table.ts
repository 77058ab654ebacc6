import type { Table } from '../results/table.ts'

/** One fault that was injected into an operation, and the promises that were broken after it. */
export interface FaultOutcome {
  readonly operation: string
  readonly fault: string
  readonly broken: readonly string[]
}

/** One row for each operation and fault, in order of first appearance, and a last row with the sums. */
export function faultTable(title: string, fault: string, outcomes: readonly FaultOutcome[]): Table {
  const groups = groupBy(outcomes, (outcome) => `${outcome.operation}, ${outcome.fault}`)
  const counts = (group: readonly FaultOutcome[]): readonly string[] => [
    String(group.length),
    String(group.filter(({ broken }) => broken.length > 0).length),
  ]
  return {
    title,
    columns: [`operation, ${fault}`, 'points', 'broken promises'],
    rows: [...[...groups].map(([name, group]) => [name, ...counts(group)]), ['all', ...counts(outcomes)]],
  }
}

/** The items by key, keys in order of first appearance. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}

/** A line for each outcome that broke a promise. */
export const brokenLines = (outcomes: readonly FaultOutcome[]): readonly string[] =>
  outcomes
    .filter(({ broken }) => broken.length > 0)
    .map(({ operation, fault, broken }) => `broken: ${operation}, ${fault}: ${broken.join('; ')}`)
