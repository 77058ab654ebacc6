import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { finding } from '../core/errors.ts'

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
  const raw = createReadStream(file)
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
    const found = cause instanceof Error ? cause.message : String(cause)
    const fix = 'name a readable .jsonl or .jsonl.gz file'
    throw finding(code, 'the file cannot be read', { file, field, found, fix }, { cause })
  } finally {
    raw.destroy()
    stream.destroy()
  }
}
