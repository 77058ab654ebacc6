import type { SegmentEntry } from './manifest-schema.ts'
import type { Row } from './published-refs.ts'

/** A segment of this size is never written again. 600,000 refs are some thirty of them. */
const SEGMENT_BYTES = 4 * 1024 * 1024

/**
 * The last segments of `entries` that new lines of `bytes` are written together with. Each is at most as large as what
 * comes behind it, so that a line is rewritten a few times at most, however often and little is flushed, and the root
 * lists few segments.
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

/** Cuts rows into segments. */
export function* inSegments(rows: readonly Row[]): Generator<readonly Row[]> {
  let begun = 0
  let size = 0
  for (const [at, { text }] of rows.entries()) {
    // Characters, not bytes: nearly the same here, and nothing hangs on it.
    if (size > 0 && size + text.length > SEGMENT_BYTES) {
      yield rows.slice(begun, at)
      begun = at
      size = 0
    }
    size += text.length + 1
  }
  if (begun < rows.length) yield rows.slice(begun)
}
