import { orderAtEnd, UNREAD } from './order-at-end.ts'

const [NEWLINE, QUOTE, COMMA, ESCAPE, OPEN, CLOSE] = [0x0a, 0x22, 0x2c, 0x5c, 0x5b, 0x5d]
const [ZERO, NINE] = [0x30, 0x39]
/** Where in a line, as `JSON.stringify` writes it, the parts lie that can be had without parsing it. */
interface Parts {
  readonly idEnd: number
  readonly tokens: number
  readonly tokensAt: number
  readonly digestsEnd: number
}

/** The bytes of one segment and where its lines begin. A line becomes text only when it is asked for. */
export class SegmentLines {
  readonly file: string
  readonly #bytes: Buffer
  /** Beginning of each line, and the end of the last one. */
  readonly #starts: Uint32Array

  /** `bytes` must have exactly `count` lines, each with its newline: see `isWhole`. */
  constructor(file: string, bytes: Buffer, count: number) {
    this.file = file
    this.#bytes = bytes
    this.#starts = new Uint32Array(count + 1)
    let at = 0
    for (let line = 1; line <= count; line += 1) {
      at = bytes.indexOf(NEWLINE, at) + 1
      if (at === 0) return
      this.#starts[line] = at
    }
  }

  /** Whether there are as many lines as there should be. */
  get isWhole(): boolean {
    return this.#starts.at(-1) === this.#bytes.length && (this.length === 0) === (this.#bytes.length === 0)
  }

  /** The whole segment. */
  get bytes(): Buffer {
    return this.#bytes
  }

  /** Where each line ends, its newline included. */
  get ends(): Uint32Array {
    return this.#starts.subarray(1)
  }

  get length(): number {
    return this.#starts.length - 1
  }

  /** File and line, as errors name it. */
  where(line: number): string {
    return `${this.file}:${line + 1}`
  }

  text(line: number): string {
    return this.#bytes.toString('utf8', this.#starts[line], this.#end(line))
  }

  /** Writes the tokens and the order of each line, from `first` on: NO_ORDER, or UNREAD in a layout that must be parsed. */
  readFigures(first: number, tokens: Float64Array, orders: Float64Array): void {
    for (let line = 0; line < this.length; line += 1) {
      const parts = this.#parts(line)
      tokens[first + line] = parts?.tokens ?? UNREAD
      orders[first + line] = parts === null ? UNREAD : orderAtEnd(this.#bytes, parts.digestsEnd, this.#end(line))
    }
  }

  /** The sample id. Null for a line in another layout than this program writes; it must be parsed. */
  id(line: number): string | null {
    const parts = this.#parts(line)
    return parts && this.#bytes.toString('latin1', (this.#starts[line] ?? 0) + 2, parts.idEnd)
  }

  /** Writes id, tokens, bytes and digests of a line into `into` and returns where they end; null like `id`. */
  copyContent(line: number, into: Buffer, at: number): number | null {
    const parts = this.#parts(line)
    if (parts === null) return null
    const middle = at + this.#bytes.copy(into, at, (this.#starts[line] ?? 0) + 2, parts.idEnd)
    return middle + this.#bytes.copy(into, middle, parts.tokensAt - 1, parts.digestsEnd)
  }

  /** The longest line, in bytes. */
  get longestLine(): number {
    let longest = 0
    for (let line = 0; line < this.length; line += 1) {
      longest = Math.max(longest, this.#end(line) - (this.#starts[line] ?? 0))
    }
    return longest
  }

  #end(line: number): number {
    return (this.#starts[line + 1] ?? 0) - 1
  }

  #parts(line: number): Parts | null {
    const [bytes, start, end] = [this.#bytes, this.#starts[line] ?? 0, this.#end(line)]
    const idEnd = endOfId(bytes, start)
    const tokensAt = afterNumber(bytes, afterNumber(bytes, idEnd + 2))
    const bytesAt = afterNumber(bytes, tokensAt)
    if (idEnd < 0 || bytes[idEnd + 1] !== COMMA || bytesAt < 0) return null
    let tokens = 0
    for (let at = tokensAt; at < bytesAt - 1; at += 1) tokens = tokens * 10 + (bytes[at] ?? 0) - ZERO
    const digestsEnd = endOfDigests(bytes, afterNumber(bytes, bytesAt))
    if (digestsEnd < 0 || digestsEnd >= end) return null
    return { idEnd, tokens, tokensAt, digestsEnd }
  }
}

/** Where the quote behind the id is; -1 when the line does not begin with an id. */
function endOfId(bytes: Buffer, start: number): number {
  if (bytes[start] !== OPEN || bytes[start + 1] !== QUOTE) return -1
  for (let at = start + 2; at < bytes.length; at += 1) {
    if (bytes[at] === QUOTE) return at
    if (bytes[at] === ESCAPE || bytes[at] === NEWLINE) return -1
  }
  return -1
}

/** Where the next value begins behind the whole number at `at`; -1 when there is none. */
function afterNumber(bytes: Buffer, at: number): number {
  if (at < 0) return -1
  for (let end = at; ; end += 1) {
    const byte = bytes[end] ?? 0
    if (byte >= ZERO && byte <= NINE) continue
    return byte === COMMA && end > at ? end + 1 : -1
  }
}

/** The length of a digest of 16 hex digits, with its quotes. */
const DIGEST_LENGTH = 18

/** Where the bracket behind a list of digests is; -1 when at `at` there is no such list. */
function endOfDigests(bytes: Buffer, at: number): number {
  if (at < 0 || bytes[at] !== OPEN) return -1
  for (let end = at + 1; bytes[end] === QUOTE && bytes[end + DIGEST_LENGTH - 1] === QUOTE; end += 1) {
    end += DIGEST_LENGTH
    if (bytes[end] === CLOSE) return end
    if (bytes[end] !== COMMA) return -1
  }
  return -1
}

/** How many lines there are; null when the last one has no newline. */
export function countLines(bytes: Buffer): number | null {
  let count = 0
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) count += 1
  return bytes.length === 0 || bytes.at(-1) === NEWLINE ? count : null
}
