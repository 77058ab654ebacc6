import path from 'node:path'
import { finding } from '../../core/errors.ts'
import { readPlainSync } from '../../core/files/plain-file.ts'
import type { SampleId } from '../../core/ids.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import type { Lines } from '../lines/lines.ts'
import { RefParser, type RefRoot } from '../lines/parse-ref.ts'
import { PRODUCE_AGAIN } from '../produce-again.ts'
import { SegmentLines } from '../read/segment-lines.ts'
import type { SegmentEntry } from '../root/manifest-schema.ts'

/** More than the lines of any segment: place = serial * STRIDE + line. */
const STRIDE = 2 ** 24

interface Segment {
  readonly entry: SegmentEntry
  readonly serial: number
}

/** Where each sample of a manifest stands: its segment and line. Keeps only ids and numbers in memory. */
export class PublishedRefs {
  readonly #dir: string
  readonly #places = new Map<SampleId, number>()
  readonly #segments = new Map<number, Segment>()
  #serial = 0
  /** The segment that was read last. */
  #lastRead: { readonly serial: number; readonly lines: SegmentLines } | undefined

  constructor(dir: string) {
    this.#dir = dir
  }

  get size(): number {
    return this.#places.size
  }

  get entries(): readonly SegmentEntry[] {
    return [...this.#segments.values()].map(({ entry }) => entry)
  }

  has(id: SampleId): boolean {
    return this.#places.has(id)
  }

  keys(): IterableIterator<SampleId> {
    return this.#places.keys()
  }

  /** @throws REF_INVALID for a line that is no ref. */
  get(id: SampleId, root: RefRoot): SampleRef | undefined {
    const place = this.#places.get(id)
    if (place === undefined) return undefined
    const lines = this.#lines(Math.floor(place / STRIDE))
    const line = place % STRIDE
    return new RefParser(root).ref(lines.text(line), () => lines.where(line))
  }

  /** Appends a segment. A sample that an earlier segment lists too is found in this one from now on. */
  add(entry: SegmentEntry, ids: readonly SampleId[]): void {
    const serial = this.#serial
    this.#serial += 1
    this.#segments.set(serial, { entry, serial })
    for (const [line, id] of ids.entries()) this.#places.set(id, serial * STRIDE + line)
  }

  /** The segments that `ids` are in. */
  holding(ids: Iterable<SampleId>): ReadonlySet<SegmentEntry> {
    const found = new Set<SegmentEntry>()
    for (const id of ids) {
      const entry = this.#segments.get(Math.floor((this.#places.get(id) ?? -1) / STRIDE))?.entry
      if (entry !== undefined) found.add(entry)
    }
    return found
  }

  lines(entry: SegmentEntry, parser: RefParser): Lines {
    const lines = readLines(this.#dir, entry)
    const ids = Array.from({ length: lines.length }, (_, line) => {
      const id = lines.id(line) as SampleId | null
      return id ?? parser.line(lines.text(line), () => lines.where(line))[0]
    })
    return { ids, bytes: lines.bytes, ends: lines.ends }
  }

  /** Removes segments, and the samples in `gone`, which no other segment lists. */
  drop(entries: ReadonlySet<SegmentEntry>, gone: Iterable<SampleId>): void {
    for (const [serial, { entry }] of this.#segments) if (entries.has(entry)) this.#segments.delete(serial)
    for (const id of gone) this.#places.delete(id)
    this.#lastRead = undefined
  }

  #lines(serial: number): SegmentLines {
    if (this.#lastRead?.serial === serial) return this.#lastRead.lines
    const segment = this.#segments.get(serial)
    if (segment === undefined) throw new Error(`no segment ${serial} in ${this.#dir}`)
    const lines = readLines(this.#dir, segment.entry)
    this.#lastRead = { serial, lines }
    return lines
  }
}

// Checked when this process opened or wrote the manifest, and no other process may write it.
function readLines(dir: string, { file, count, bytes }: SegmentEntry): SegmentLines {
  const name = path.join(dir, file)
  const refuse = (found: string) =>
    finding('MANIFEST_INVALID', 'this is not the segment that was published', {
      file: name,
      found,
      fix: PRODUCE_AGAIN,
    })
  return new SegmentLines(name, readPlainSync(name, { refuse, maxBytes: bytes }), count)
}
