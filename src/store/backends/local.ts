import { randomBytes, randomInt } from 'node:crypto'
import type { Python } from '../../bridge/python.ts'
import { TensorSet } from '../../bridge/tensor-set.ts'
import { finding } from '../../core/errors.ts'
import type { SampleId } from '../../core/ids.ts'
import type {
  BlobKey,
  BlobMetadata,
  BlobRequest,
  RowRange,
  StoreBackend,
  StoredBlob,
  StoredKey,
  WrittenBlob,
} from '../backend.ts'
import { LocalNotes } from './local-notes.ts'

interface Held extends StoredBlob {
  readonly key: StoredKey
}

/** What the clients of one store in memory share. The last one that closes frees it. */
export class LocalData {
  readonly samples = new Map<SampleId, Map<number, Held>>()
  readonly notes = new LocalNotes()
  readonly fenced = new Set<string>()
  users = 0

  constructor() {
    // A store id may be chosen by hand and come again in the next process; its generations must not.
    void this.notes.create(`epochs/${randomInt(1, 2 ** 31)}`, '')
  }
}

/** Blobs in the memory of this process: the colocated baseline. */
export class LocalBackend implements StoreBackend {
  readonly name = 'local'
  readonly traits = { shared: false, outlivesProcess: false }
  readonly memberId = `m${randomBytes(8).toString('hex')}`
  readonly notes: LocalNotes
  readonly #python: Python
  readonly #data: LocalData

  constructor(python: Python, data: LocalData = new LocalData()) {
    this.#python = python
    this.#data = data
    this.notes = data.notes
    data.users += 1
  }

  async write(key: BlobKey, tensors: TensorSet, metadata: BlobMetadata): Promise<WrittenBlob> {
    const copy = await this.#clone(tensors, null, null)
    try {
      const { digests } = await this.#python.call('tensor.digest', { handle: copy.handle })
      this.#expectPlace()
      const generations = this.#data.samples.get(key.sampleId) ?? new Map<number, Held>()
      generations.set(key.generation, { key: { ...key, bytes: copy.bytes }, tensors: copy, metadata, digests })
      this.#data.samples.set(key.sampleId, generations)
      return { digests, bytes: copy.bytes }
    } catch (error) {
      await copy[Symbol.asyncDispose]()
      throw error
    }
  }

  // Not hashed again: the stored copy never leaves this object, so nobody can have written to it.
  async read(wanted: readonly BlobRequest[]): Promise<readonly (StoredBlob | Error | null)[]> {
    return Promise.all(
      wanted.map(async ({ key, names, rows }) => {
        const held = this.#data.samples.get(key.sampleId)?.get(key.generation)
        if (held === undefined) return null
        const { metadata, digests } = held
        return { tensors: await this.#clone(held.tensors, names, rows), metadata, digests }
      }),
    )
  }

  async has({ sampleId, generation }: BlobKey): Promise<boolean> {
    return this.#data.samples.get(sampleId)?.has(generation) ?? false
  }

  async remove({ sampleId, generation }: BlobKey): Promise<number> {
    this.#expectPlace()
    const generations = this.#data.samples.get(sampleId)
    const held = generations?.get(generation)
    generations?.delete(generation)
    if (generations?.size === 0) this.#data.samples.delete(sampleId)
    await held?.tensors[Symbol.asyncDispose]()
    return held?.key.bytes ?? 0
  }

  /** Nobody could look at it in the memory of a process that ends, so a quarantined blob is one that is removed. */
  quarantine(key: BlobKey): Promise<number> {
    return this.remove(key)
  }

  async list(sampleId?: SampleId): Promise<readonly StoredKey[]> {
    const { samples } = this.#data
    const wanted = sampleId === undefined ? [...samples.values()] : [samples.get(sampleId)]
    return wanted.flatMap((generations) => [...(generations?.values() ?? [])].map((held) => held.key))
  }

  async enter(): Promise<void> {}

  async fence(memberId: string): Promise<void> {
    this.#data.fenced.add(memberId)
  }

  async leave(): Promise<void> {
    this.#data.fenced.add(this.memberId)
  }

  async close(): Promise<void> {
    this.#data.users -= 1
    if (this.#data.users > 0) return
    const all = [...this.#data.samples.values()].flatMap((generations) => [...generations.values()])
    this.#data.samples.clear()
    for (const held of all) await held.tensors[Symbol.asyncDispose]()
  }

  #expectPlace(): void {
    if (!this.#data.fenced.has(this.memberId)) return
    throw finding('STORE_BUSY', 'this client of the store was taken for dead', { found: `member ${this.memberId}` })
  }

  async #clone(tensors: TensorSet, names: readonly string[] | null, rows: RowRange | null): Promise<TensorSet> {
    const wanted = { handle: tensors.handle, names: names === null ? null : [...names], rows }
    return new TensorSet(this.#python, await this.#python.call('tensor.clone', wanted))
  }
}
