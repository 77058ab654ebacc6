/** Figures as a script prints them and as docs/benchmarks keeps them. Every row has one cell for each column. */
export interface Table {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** The table as Markdown. A `|` inside a cell is escaped, so that it cannot end the cell. */
export function markdownOf({ title, columns, rows }: Table): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  // Figures are read from the right; the first column is a name.
  const rule = columns.map((_, index) => (index === 0 ? '---' : '---:'))
  return [`## ${title}`, '', line(columns), line(rule), ...rows.map(line)].join('\n')
}

/** One line of a table for a terminal: names on the left, figures on the right. */
export function textLine(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0)))
    .join('  ')
}
