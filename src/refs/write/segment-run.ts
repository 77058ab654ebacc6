import type { SampleId } from '../../core/ids.ts'
import type { Lines } from '../lines/lines.ts'
import type { SegmentEntry } from '../root/manifest-schema.ts'

/** A segment of this size is never written again. 600,000 refs fill about thirty. */
const SEGMENT_BYTES = 4 * 1024 * 1024

/**
 * The last segments of `entries`, which are rewritten together with `bytes` of new lines. A segment is rewritten only
 * when at least as much follows it. So a line is rewritten a few times at most, even with many small flushes, and the
 * root lists few segments.
 */
export function joined(entries: readonly SegmentEntry[], bytes: number): readonly SegmentEntry[] {
  let first = entries.length
  for (let size = bytes; first > 0; first -= 1) {
    const last = entries[first - 1]?.bytes ?? 0
    if (bytes === 0 || last > size || last + size > SEGMENT_BYTES) break
    size += last
  }
  return entries.slice(first)
}

export interface Segment {
  readonly ids: readonly SampleId[]
  /** Good until the next segment is asked for. */
  readonly content: Buffer
}

/** Cuts lines into segments. */
export function* inSegments(parts: readonly Lines[]): Generator<Segment> {
  const total = parts.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const next = new NextSegment(Math.min(total, SEGMENT_BYTES))
  for (const { ids, bytes, ends } of parts) {
    let start = 0
    for (const [line, id] of ids.entries()) {
      const end = ends[line] ?? start
      if (!next.fits(end - start)) yield next.take()
      next.add(id, bytes, start, end)
      start = end
    }
  }
  if (next.size > 0) yield next.take()
}

class NextSegment {
  size = 0
  #ids: SampleId[] = []
  #buffer: Buffer

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafe(bytes)
  }

  /** A line that is longer than SEGMENT_BYTES gets a segment of its own. */
  fits(length: number): boolean {
    return this.size === 0 || this.size + length <= SEGMENT_BYTES
  }

  add(id: SampleId, bytes: Buffer, start: number, end: number): void {
    if (end - start > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(end - start)
    this.size += bytes.copy(this.#buffer, this.size, start, end)
    this.#ids.push(id)
  }

  take(): Segment {
    const taken = { ids: this.#ids, content: this.#buffer.subarray(0, this.size) }
    this.#ids = []
    this.size = 0
    return taken
  }
}
