import { createHash } from 'node:crypto'
import type { SampleId } from '../../core/ids.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { LineMaker } from '../lines/line-maker.ts'
import { badRef, RefParser, type RefRoot } from '../lines/parse-ref.ts'
import { type SpecTemplate, toLine } from '../lines/ref-line.ts'
import { SegmentLines } from './segment-lines.ts'

/**
 * Many refs, kept as the bytes that were published. A ref is parsed and checked each time it is asked for, so a list of
 * 600,000 costs its bytes and no more, and a process pays only for what it uses.
 */
export class RefList implements Iterable<SampleRef> {
  /** The features of each kind of sample in it. */
  readonly specs: readonly SpecTemplate[]
  readonly length: number
  readonly #segments: readonly SegmentLines[]
  /** Index of each segment's first ref. */
  readonly #firsts: readonly number[]
  readonly #parser: RefParser
  #tokens: Float64Array | undefined

  constructor(root: RefRoot, segments: readonly SegmentLines[]) {
    this.specs = root.specs
    this.#segments = segments
    this.#parser = new RefParser(root)
    let length = 0
    this.#firsts = segments.map((segment) => {
      length += segment.length
      return length - segment.length
    })
    this.length = length
  }

  /** A list of refs in memory. All must be of one run and one store. */
  static of(refs: readonly SampleRef[]): RefList {
    const lines = new LineMaker({ specs: [], keys: [] })
    const text = refs.map((ref) => `${lines.make(ref)}\n`).join('')
    const [first] = refs
    if (first === undefined) return new RefList({ runId: '' as never, storeId: '' as never, ...lines.shared }, [])
    const { runId, storeId } = first
    return new RefList({ runId, storeId, ...lines.shared }, [
      new SegmentLines('(memory)', Buffer.from(text), refs.length),
    ])
  }

  /** @throws REF_INVALID, naming file and line, for a line that is no ref. */
  at(index: number): SampleRef {
    const [segment, line] = this.#find(index)
    return this.#parser.ref(segment.text(line), () => segment.where(line))
  }

  /** The tokens of one sample. Unlike `at` it does not parse, and checks nothing else of the ref. */
  tokens(index: number): number {
    this.#tokens ??= this.#readTokens()
    const tokens = this.#tokens[index]
    if (tokens === undefined) throw new RangeError(`sample ${index} of ${this.length}`)
    return tokens
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
   * @throws REF_INVALID naming the first line that is wrong.
   */
  checkAll(): readonly SampleId[] {
    const seen = new Set<SampleId>()
    for (const segment of this.#segments) {
      for (let line = 0; line < segment.length; line += 1) {
        const [id] = this.#parser.line(segment.text(line), () => segment.where(line))
        if (seen.size === seen.add(id).size) throw badRef(segment.where(line), 'sample id', `${id}, a second time`)
      }
    }
    return [...seen]
  }

  /** Identifies the samples, their order and their bytes, independent of the store and of their generations. */
  contentDigest(): string {
    const hash = createHash('sha256')
    const longestLine = this.#segments.reduce((longest, segment) => Math.max(longest, segment.longestLine), 0)
    const block = Buffer.allocUnsafe(longestLine + 256 * 1024)
    let end = 0
    for (let index = 0; index < this.length; index += 1) {
      if (end + longestLine > block.length) {
        hash.update(block.subarray(0, end))
        end = 0
      }
      const [segment, line] = this.#find(index)
      end = segment.copyContent(line, block, end) ?? end + block.write(contentOf(this.at(index)), end)
    }
    return hash.update(block.subarray(0, end)).digest('hex')
  }

  #readTokens(): Float64Array {
    const tokens = new Float64Array(this.length)
    for (let index = 0; index < this.length; index += 1) {
      const [segment, line] = this.#find(index)
      tokens[index] = segment.tokens(line) ?? this.at(index).numTokens
    }
    return tokens
  }

  #find(index: number): [SegmentLines, number] {
    let [low, high] = [0, this.#segments.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#firsts[middle] ?? 0) <= index) low = middle
      else high = middle - 1
    }
    const segment = this.#segments[low]
    const line = index - (this.#firsts[low] ?? 0)
    if (segment === undefined || !Number.isInteger(line) || line < 0 || line >= segment.length) {
      throw new RangeError(`sample ${index} of ${this.length}`)
    }
    return [segment, line]
  }
}

/** The same bytes as `copyContent` gives, for a line in another layout. */
function contentOf(ref: SampleRef): string {
  const [id, , , tokens, bytes, hashes] = toLine(ref, 0, {})
  const list = hashes.map((hash) => `"${hash}"`).join(',')
  return `${id},${tokens},${bytes},[${list}`
}
