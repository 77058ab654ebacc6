import { open } from 'node:fs/promises'
import { finding } from '../../core/errors.ts'
import { JsonElements } from './json-elements.ts'
import { type Line, linesOfFile } from './lines-of-file.ts'
import { parquetRows } from './parquet-rows.ts'
import { parseExact } from './parse-exact.ts'

/** One conversation as it stands in a file, or why it cannot be read. `where`: `file:line`, for messages. */
export type FileRecord =
  | { readonly where: string; readonly value: unknown }
  | { readonly where: string; readonly bad: string }

type Code = 'FEATURE_INVALID' | 'CONFIG_INVALID'
type Unreadable = (where: string, found: string, fix?: string) => Error

const CUT_OFF = 'the file is cut off: write or download it again'
const PARQUET = 'PAR1'
const LINES_ENDING = /\.(jsonl|ndjson)(\.(gz|zst))?$/i

/**
 * The records of a file: one JSON value on each line, one JSON array of them, objects that span several lines, or the
 * rows of a Parquet file; the text forms plain or packed. @throws `code` when the file cannot be read to its end.
 */
export async function* recordsOfFile(
  file: string,
  field = 'data.conversations',
  code: Code = 'FEATURE_INVALID',
): AsyncGenerator<FileRecord> {
  const forms = 'name JSON lines, a JSON array or Parquet; text may be packed with gzip or zstd'
  const unreadable = (where: string, found: string, fix = forms) =>
    finding(code, 'the conversations of this file cannot be read', { file: where, field, found, fix })
  if (await isParquet(file, unreadable)) yield* rowsOf(file, unreadable)
  else yield* recordsOfText(file, linesOfFile(file, field, code), unreadable)
}

async function* recordsOfText(
  file: string,
  lines: AsyncIterable<Line>,
  unreadable: Unreadable,
): AsyncGenerator<FileRecord> {
  let document: JsonElements | null | undefined
  for await (const line of lines) {
    if (document === undefined) document = documentOf(file, line)
    for (const element of elementsOf(file, document, line, unreadable)) yield* ofLine(file, element)
  }
  if (document?.isClosed === false)
    throw unreadable(file, 'the end of the file inside of an array or an object', CUT_OFF)
}

/** A document of many lines shows in its first one, which is no JSON value by itself. */
function documentOf(file: string, first: Line): JsonElements | null {
  if ('bad' in first || LINES_ENDING.test(file) || !/^\s*[[{]/.test(first.text)) return null
  try {
    JSON.parse(first.text)
    return null
  } catch {
    return new JsonElements(first.text.trimStart().startsWith('['))
  }
}

function elementsOf(file: string, document: JsonElements | null, line: Line, unreadable: Unreadable): Iterable<Line> {
  if (document === null) return [line]
  if ('bad' in line) throw unreadable(`${file}:${line.number}`, line.bad)
  return document.push(line.text, line.number)
}

function* ofLine(file: string, line: Line): Generator<FileRecord> {
  const where = `${file}:${line.number}`
  if ('bad' in line) {
    yield { where, bad: line.bad }
    return
  }
  let value: unknown
  try {
    value = parseExact(line.text)
  } catch (error) {
    yield { where, bad: error instanceof Error ? error.message : String(error) }
    return
  }
  if (!isListOfConversations(value)) yield { where, value }
  else for (const [index, each] of value.entries()) yield { where: `${where}[${index}]`, value: each }
}

/** A whole file on one line. A list of messages is one conversation and no list of them. */
const isListOfConversations = (value: unknown): value is readonly unknown[] =>
  Array.isArray(value) && value.length > 0 && !value.every(isMessage)

const isMessage = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && ('role' in value || 'from' in value)

async function isParquet(file: string, unreadable: Unreadable): Promise<boolean> {
  // A pipe would lose the bytes that are looked at.
  if (!/\.(parquet|pq)$/i.test(file)) return false
  await using handle = await open(file, 'r').catch((cause: unknown) => {
    throw unreadable(file, cause instanceof Error ? cause.message : String(cause))
  })
  const { buffer } = await handle.read(Buffer.alloc(PARQUET.length), 0, PARQUET.length, 0)
  if (buffer.toString('latin1') === PARQUET) return true
  throw unreadable(file, 'a file that does not begin as Parquet files do')
}

async function* rowsOf(file: string, unreadable: Unreadable): AsyncGenerator<FileRecord> {
  let number = 0
  try {
    for await (const value of parquetRows(file)) {
      number += 1
      yield { where: `${file}:row ${number}`, value }
    }
  } catch (cause) {
    throw unreadable(file, `${cause instanceof Error ? cause.message : String(cause)}, after row ${number}`)
  }
}
