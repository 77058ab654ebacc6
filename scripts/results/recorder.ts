import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { checkout } from './checkout.ts'
import { commandLine, describeMachine } from './machine.ts'
import { markdownOf, type Table, textLine } from './table.ts'

/** Options of every script that measures, for `parseArgs`. */
export const recordOptions = {
  record: { type: 'boolean', default: false },
  name: { type: 'string' },
  out: { type: 'string' },
} as const

export interface RecorderOptions {
  /** What was measured, in a few words: the heading of the file. */
  readonly title: string
  /** Whether to write a file at all. */
  readonly record: boolean
  /** The file's name without `.md`. */
  readonly name: string
  /** The file's folder; docs/benchmarks if not given. */
  readonly out?: string | undefined
}

/** A table whose rows are printed as they come. */
export interface OpenTable {
  row(...cells: readonly string[]): void
}

const NAME_WIDTH = 40
const FIGURE_WIDTH = 11

/** Prints figures as a script finds them; with `record` it also keeps them in docs/benchmarks, with machine and commit. */
export class Recorder {
  readonly #options: RecorderOptions
  readonly #tables: { title: string; columns: readonly string[]; rows: (readonly string[])[] }[] = []
  readonly #notes: string[] = []

  constructor(options: RecorderOptions) {
    this.#options = options
  }

  /** Begins a table. */
  table(title: string, columns: readonly string[]): OpenTable {
    const widths = columns.map((column, index) => Math.max(column.length, index === 0 ? NAME_WIDTH : FIGURE_WIDTH))
    const rows: (readonly string[])[] = []
    this.#tables.push({ title, columns, rows })
    print(`\n${title}\n${textLine(columns, widths)}`)
    return {
      row: (...cells) => {
        if (cells.length !== columns.length)
          throw new Error(`${title}: ${cells.length} cells in ${columns.length} columns`)
        rows.push(cells)
        print(textLine(cells, widths))
      },
    }
  }

  /** Adds a whole table. */
  add({ title, columns, rows }: Table): void {
    const open = this.table(title, columns)
    for (const row of rows) open.row(...row)
  }

  /** A sentence about the figures. */
  note(text: string): void {
    this.#notes.push(text)
    print(text)
  }

  /** Writes the file, if one was asked for. Call it once, when all figures are there. */
  async write(): Promise<void> {
    const { record, name, out = path.join(checkout, 'docs/benchmarks') } = this.#options
    if (!record) return
    const file = path.join(out, `${name}.md`)
    await mkdir(out, { recursive: true })
    await writeFile(file, this.#text())
    process.stderr.write(`recorded in ${path.relative(process.cwd(), file)}\n`)
  }

  #text(): string {
    const facts = [
      ['date', new Date().toISOString().slice(0, 10)],
      ...describeMachine(),
      ['command', `\`${commandLine(process.argv, process.env)}\``],
    ]
    const head = [
      `# ${this.#options.title}`,
      '',
      '| | |',
      '|---|---|',
      ...facts.map(([key, value]) => `| ${key} | ${value} |`),
    ]
    const parts = [head.join('\n'), ...this.#tables.map(markdownOf)]
    if (this.#notes.length > 0) parts.push(this.#notes.map((note) => `* ${note}`).join('\n'))
    return `${parts.join('\n\n')}\n`
  }
}

const print = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
