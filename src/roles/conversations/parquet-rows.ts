import { open } from 'node:fs/promises'
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'

/** Rows that are read together where a row group is larger: they lie in memory as objects. */
const ROWS = 2000

/** The rows of a Parquet file, as objects. A column without a value is absent from its row. */
export async function* parquetRows(file: string): AsyncGenerator<unknown> {
  await using handle = await open(file, 'r')
  const { size } = await handle.stat()
  const source: AsyncBuffer = {
    byteLength: size,
    slice: async (begin, end = size) => {
      const bytes = new Uint8Array(end - begin)
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, begin)
      if (bytesRead !== bytes.length) throw new Error(`the file ends at byte ${begin + bytesRead}`)
      return bytes.buffer
    },
  }
  const metadata = await parquetMetadataAsync(source)
  const rows = Number(metadata.num_rows)
  for (let first = 0; first < rows; first += ROWS) {
    const part = { rowStart: first, rowEnd: Math.min(first + ROWS, rows) }
    const read = { file: source, metadata, compressors, utf8: false, parsers: { stringFromBytes: textOf }, ...part }
    for (const row of await parquetReadObjects(read)) yield plain(row)
  }
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Bytes that are no UTF-8 as half a character, which no conversation may hold: the row is refused and named. */
function textOf(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined
  try {
    return strict.decode(bytes)
  } catch {
    return '\udfff'
  }
}

/** 64-bit numbers as their digits where JavaScript has no such number. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Uint8Array) return textOf(value)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]))
}
