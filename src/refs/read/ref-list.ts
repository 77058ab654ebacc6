import { createHash } from 'node:crypto'
import type { SampleId } from '../../core/ids.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { LineMaker } from '../lines/line-maker.ts'
import { badRef, RefParser, type RefRoot } from '../lines/parse-ref.ts'
import { type SpecTemplate, toLine } from '../lines/ref-line.ts'
import { NO_ORDER, UNREAD } from './order-at-end.ts'
import { presentedOrder } from './presented-order.ts'
import { SegmentLines } from './segment-lines.ts'

/** Segments and the root that lists them. */
export interface RefSource {
  readonly root: RefRoot
  readonly segments: readonly SegmentLines[]
}

interface Segment {
  readonly lines: SegmentLines
  readonly parser: RefParser
  /** Published index of its first ref. */
  readonly first: number
}

/** What is read of all refs at once, without parsing them. */
interface Figures {
  /** Tokens of each published ref. */
  readonly tokens: Float64Array
  /** The published index of each ref of the list. Null: the list is as it was published. */
  readonly order: Uint32Array | null
}

/**
 * Many refs, kept as the bytes that were published. A ref is parsed and checked each time it is asked for, so a list of
 * 600,000 costs its bytes and no more, and a process pays only for what it uses.
 *
 * Refs come in the order of their inputs. Where one ref does not say where its input stands, all come as published.
 */
export class RefList implements Iterable<SampleRef> {
  /** The features of each kind of sample in it. */
  readonly specs: readonly SpecTemplate[]
  readonly length: number
  readonly #segments: readonly Segment[]
  #known: Figures | undefined

  constructor(sources: readonly RefSource[]) {
    this.specs = sources.flatMap(({ root }) => root.specs)
    let first = 0
    this.#segments = sources.flatMap(({ root, segments }) => {
      const parser = new RefParser(root)
      return segments.map((lines) => {
        first += lines.length
        return { lines, parser, first: first - lines.length }
      })
    })
    this.length = first
  }

  /** A list of refs in memory. All must be of one run and one store. */
  static of(refs: readonly SampleRef[]): RefList {
    const lines = new LineMaker({ specs: [], keys: [] })
    const text = refs.map((ref) => `${lines.make(ref)}\n`).join('')
    const [first] = refs
    if (first === undefined) return new RefList([])
    const { runId, storeId } = first
    const segment = new SegmentLines('(memory)', Buffer.from(text), refs.length)
    return new RefList([{ root: { runId, storeId, ...lines.shared }, segments: [segment] }])
  }

  /** @throws REF_INVALID, naming file and line, for a line that is no ref. */
  at(index: number): SampleRef {
    const [{ lines, parser }, line] = this.#find(this.#published(index))
    return parser.ref(lines.text(line), () => lines.where(line))
  }

  /** The tokens of one sample. Unlike `at` it does not parse, and checks nothing else of the ref. */
  tokens(index: number): number {
    return this.#figures().tokens[this.#published(index)] ?? 0
  }

  *[Symbol.iterator](): Generator<SampleRef, void, undefined> {
    for (let index = 0; index < this.length; index += 1) yield this.at(index)
  }

  map<T>(of: (ref: SampleRef, index: number) => T): T[] {
    return Array.from({ length: this.length }, (_, index) => of(this.at(index), index))
  }

  /**
   * Parses and checks every ref, and that no sample is in it twice.
   * @returns the sample ids, in order.
   * @throws REF_INVALID naming the first line, as published, that is wrong.
   */
  checkAll(): readonly SampleId[] {
    const ids = this.checkPublished()
    const { order } = this.#figures()
    return order === null ? ids : Array.from(order, (published) => ids[published] as SampleId)
  }

  /** `checkAll`, with the sample ids as they were published. */
  checkPublished(): readonly SampleId[] {
    const seen = new Set<SampleId>()
    for (const { lines, parser } of this.#segments) {
      for (let line = 0; line < lines.length; line += 1) {
        const [id] = parser.line(lines.text(line), () => lines.where(line))
        if (seen.size === seen.add(id).size) throw badRef(lines.where(line), 'sample id', `${id}, a second time`)
      }
    }
    return [...seen]
  }

  /** Identifies the samples, their order and their bytes, independent of the store and of their generations. */
  contentDigest(): string {
    const hash = createHash('sha256')
    const longestLine = this.#segments.reduce((longest, { lines }) => Math.max(longest, lines.longestLine), 0)
    const block = Buffer.allocUnsafe(longestLine + 256 * 1024)
    let end = 0
    for (let index = 0; index < this.length; index += 1) {
      if (end + longestLine > block.length) {
        hash.update(block.subarray(0, end))
        end = 0
      }
      const [{ lines }, line] = this.#find(this.#published(index))
      end = lines.copyContent(line, block, end) ?? end + block.write(contentOf(this.at(index)), end)
    }
    return hash.update(block.subarray(0, end)).digest('hex')
  }

  #published(index: number): number {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new RangeError(`sample ${index} of ${this.length}`)
    }
    return this.#figures().order?.[index] ?? index
  }

  #figures(): Figures {
    this.#known ??= this.#readFigures()
    return this.#known
  }

  #readFigures(): Figures {
    const [tokens, orders] = [new Float64Array(this.length), new Float64Array(this.length)]
    let isOrdered = true
    for (const { lines, parser, first } of this.#segments) {
      lines.readFigures(first, tokens, orders)
      for (let line = 0; line < lines.length; line += 1) {
        const index = first + line
        if (tokens[index] === UNREAD || (isOrdered && orders[index] === UNREAD)) {
          const parsed = parser.line(lines.text(line), () => lines.where(line))
          tokens[index] = parsed[3]
          orders[index] = parsed[7]?.[3] ?? NO_ORDER
        }
        isOrdered &&= orders[index] !== NO_ORDER
      }
    }
    return { tokens, order: isOrdered ? presentedOrder(orders, (published) => this.#id(published)) : null }
  }

  #id(published: number): string {
    const [{ lines, parser }, line] = this.#find(published)
    return lines.id(line) ?? parser.line(lines.text(line), () => lines.where(line))[0]
  }

  /** The segment and the line of a published ref. */
  #find(published: number): [Segment, number] {
    let [low, high] = [0, this.#segments.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#segments[middle]?.first ?? 0) <= published) low = middle
      else high = middle - 1
    }
    const segment = this.#segments[low]
    if (segment === undefined) throw new RangeError(`sample ${published} of ${this.length}`)
    return [segment, published - segment.first]
  }
}

/** The same bytes as `copyContent` gives, for a line in another layout. */
function contentOf(ref: SampleRef): string {
  const [id, , , tokens, bytes, hashes] = toLine(ref, 0, {})
  const list = hashes.map((hash) => `"${hash}"`).join(',')
  return `${id},${tokens},${bytes},[${list}`
}
