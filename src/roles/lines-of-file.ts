import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { CodedError, finding } from '../core/errors.ts'
import { openInput } from '../core/files/plain-file.ts'

export interface Line {
  readonly number: number
  readonly text: string
}

/** The non-blank lines of a `.jsonl` or `.jsonl.gz` file. @throws `code` when the file cannot be read to its end. */
export async function* linesOfFile(
  file: string,
  field: string,
  code: 'FEATURE_INVALID' | 'CONFIG_INVALID',
): AsyncGenerator<Line> {
  const unreadable = (found: string, cause?: unknown) => {
    const fix = 'name a readable .jsonl or .jsonl.gz file'
    return finding(code, 'the file cannot be read', { file, field, found, fix }, { cause })
  }
  const textOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))
  const handle = await openInput(file, unreadable).catch((cause: unknown) => {
    throw cause instanceof CodedError ? cause : unreadable(textOf(cause), cause)
  })
  const raw = handle.createReadStream()
  const stream: Readable = file.endsWith('.gz') ? raw.pipe(createGunzip()) : raw
  // pipe() does not forward errors, and an 'error' event without a listener would end the process.
  raw.on('error', (error) => stream.destroy(error))
  let number = 0
  try {
    for await (const text of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
      number += 1
      if (text.trim() !== '') yield { number, text }
    }
  } catch (cause) {
    throw unreadable(textOf(cause), cause)
  } finally {
    raw.destroy()
    stream.destroy()
  }
}
