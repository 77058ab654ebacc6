import { CodedError, finding } from '../../core/errors.ts'
import { openInput } from '../../core/files/plain-file.ts'
import { unpackedChunks } from './unpacked-chunks.ts'

/** A line with something in it: its text, or why it has none. `number` counts from 1. */
export type Line =
  | { readonly number: number; readonly text: string }
  | { readonly number: number; readonly bad: string }

const LINE_FEED = 0x0a
const RETURN = 0x0d
const MARK = Buffer.from([0xef, 0xbb, 0xbf])
/** A conversation of this size has tens of millions of tokens; what is larger is no file of lines. */
const MAX_LINE_BYTES = 128 * 1024 * 1024

/**
 * The non-blank lines of a text file, which may be packed with gzip or zstd. A line ends at a line feed and nowhere else:
 * JSON may hold other separators of lines, such as U+2028, inside a string. @throws `code` when the file cannot be read
 * to its end.
 */
export async function* linesOfFile(
  file: string,
  field: string,
  code: 'FEATURE_INVALID' | 'CONFIG_INVALID',
): AsyncGenerator<Line> {
  const unreadable = (found: string, cause?: unknown) => {
    const fix = 'name a readable file: JSON lines, a JSON array or Parquet; text may be packed with gzip or zstd'
    return finding(code, 'the file cannot be read', { file, field, found, fix }, { cause })
  }
  const textOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))
  const handle = await openInput(file, unreadable).catch((cause: unknown) => {
    throw cause instanceof CodedError ? cause : unreadable(textOf(cause), cause)
  })
  const raw = handle.createReadStream()
  let number = 0
  try {
    for await (const bytes of splitAtLineFeeds(unpackedChunks(raw))) {
      number += 1
      const line = lineOf(bytes, number)
      if (line !== null) yield line
    }
  } catch (cause) {
    throw unreadable(textOf(cause), cause)
  } finally {
    raw.destroy()
  }
}

async function* splitAtLineFeeds(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let begun: Buffer[] = []
  let size = 0
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, from)) {
      const last = chunk.subarray(from, end)
      yield begun.length === 0 ? last : Buffer.concat([...begun, last])
      begun = []
      size = 0
      from = end + 1
    }
    begun.push(chunk.subarray(from))
    size += chunk.length - from
    if (size > MAX_LINE_BYTES) throw new Error(`a line has more than ${MAX_LINE_BYTES} bytes`)
  }
  if (size > 0) yield Buffer.concat(begun)
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function lineOf(bytes: Buffer, number: number): Line | null {
  const begin = number === 1 && bytes.subarray(0, 3).equals(MARK) ? 3 : 0
  const end = bytes.at(-1) === RETURN ? bytes.length - 1 : bytes.length
  try {
    const text = decoder.decode(bytes.subarray(begin, end))
    return text.trim() === '' ? null : { number, text }
  } catch {
    return { number, bad: notUtf8(bytes) }
  }
}

function notUtf8(bytes: Buffer): string {
  const first = firstBadByte(bytes)
  const hex = bytes[first]?.toString(16).padStart(2, '0') ?? ''
  return `bytes that are no UTF-8, the first 0x${hex} at byte ${first + 1} of the line`
}

/** Where the longest beginning that is UTF-8 ends. */
function firstBadByte(bytes: Buffer): number {
  let [good, bad] = [0, bytes.length]
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (isGood(bytes.subarray(0, middle), true)) good = middle
    else bad = middle
  }
  // It may end in the middle of a character that does not go on.
  while (!isGood(bytes.subarray(0, good), false)) good -= 1
  return good
}

/** `mayGoOn`: a character that is cut off at the end is no error. */
function isGood(bytes: Buffer, mayGoOn: boolean): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: mayGoOn })
    return true
  } catch {
    return false
  }
}
