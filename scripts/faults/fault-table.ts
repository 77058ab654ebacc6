/** What was tried, and how often it broke something. */
export interface Row {
  readonly operation: string
  readonly fault: string
  readonly points: number
  readonly broken: number
}

/** One row for each operation and fault, in the order in which they first came. */
export function rows(outcomes: readonly { operation: string; fault: string; broken: readonly string[] }[]): Row[] {
  const table = new Map<string, Row>()
  for (const { operation, fault, broken } of outcomes) {
    const row = table.get(`${operation}|${fault}`) ?? { operation, fault, points: 0, broken: 0 }
    const failed = row.broken + (broken.length > 0 ? 1 : 0)
    table.set(`${operation}|${fault}`, { ...row, points: row.points + 1, broken: failed })
  }
  return [...table.values()]
}

export function markdown(table: readonly Row[], fault: string): string {
  const sum = (of: (row: Row) => number) => table.reduce((total, row) => total + of(row), 0)
  const line = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`
  return [
    line('operation', fault, 'points', 'broken promises'),
    line('---', '---', '---:', '---:'),
    ...table.map((row) => line(row.operation, row.fault, row.points, row.broken)),
    line(
      '**all**',
      '',
      sum((row) => row.points),
      sum((row) => row.broken),
    ),
  ].join('\n')
}
