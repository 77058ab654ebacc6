import type { SampleId } from '../../core/ids.ts'

/** Lines of refs as bytes, each with its newline, and the sample id of each. */
export interface Lines {
  readonly ids: readonly SampleId[]
  readonly bytes: Buffer
  /** Where each line ends, its newline included. */
  readonly ends: ArrayLike<number>
}

const BLOCK_BYTES = 1024 * 1024

/**
 * Lines that wait for their flush. A fast producer makes hundreds of thousands between two flushes, so they are kept as
 * bytes: as strings they would outlive the young heap, and several flushes of them would stay in memory until it is collected.
 */
export class PendingLines {
  readonly #ids = new Set<SampleId>()
  #blocks: Block[] = []
  #spare: Buffer | undefined

  has(id: SampleId): boolean {
    return this.#ids.has(id)
  }

  add(id: SampleId, text: string): void {
    const length = Buffer.byteLength(text) + 1
    const last = this.#blocks.at(-1)
    if (last === undefined || !last.take(id, text, length)) {
      const buffer =
        length > BLOCK_BYTES ? Buffer.allocUnsafe(length) : (this.#spare ?? Buffer.allocUnsafe(BLOCK_BYTES))
      if (buffer === this.#spare) this.#spare = undefined
      const block = new Block(buffer)
      block.take(id, text, length)
      this.#blocks.push(block)
    }
    this.#ids.add(id)
  }

  /** All lines so far. They stay pending until `drop`; lines that are added later go into new blocks. */
  seal(): readonly Lines[] {
    for (const block of this.#blocks) block.seal()
    return [...this.#blocks]
  }

  drop(sealed: readonly Lines[]): void {
    for (const { ids } of sealed) for (const id of ids) this.#ids.delete(id)
    this.#spare ??= this.#blocks.find((block) => sealed.includes(block))?.buffer
    this.#blocks = this.#blocks.filter((block) => !sealed.includes(block))
  }
}

class Block implements Lines {
  readonly ids: SampleId[] = []
  readonly ends: number[] = []
  readonly buffer: Buffer
  #size = 0
  #sealed = false

  constructor(buffer: Buffer) {
    this.buffer = buffer
  }

  get bytes(): Buffer {
    return this.buffer.subarray(0, this.#size)
  }

  /** False when it does not fit, or nothing may be added any more. */
  take(id: SampleId, text: string, length: number): boolean {
    if (this.#sealed || this.#size + length > this.buffer.length) return false
    this.buffer.write(`${text}\n`, this.#size)
    this.#size += length
    this.ids.push(id)
    this.ends.push(this.#size)
    return true
  }

  seal(): void {
    this.#sealed = true
  }
}

/** Those of `lines` that are not about one of `gone`. */
export function without({ ids, bytes, ends }: Lines, gone: ReadonlySet<SampleId>): Lines {
  const left: { ids: SampleId[]; bytes: Buffer[]; ends: number[] } = { ids: [], bytes: [], ends: [] }
  let size = 0
  for (const [line, id] of ids.entries()) {
    if (gone.has(id)) continue
    const part = bytes.subarray(line === 0 ? 0 : ends[line - 1], ends[line])
    size += part.length
    left.ids.push(id)
    left.bytes.push(part)
    left.ends.push(size)
  }
  return { ids: left.ids, bytes: Buffer.concat(left.bytes), ends: left.ends }
}
