import type { Python } from '../../../bridge/python.ts'
import { TensorSet } from '../../../bridge/tensor-set.ts'
import { finding } from '../../../core/errors.ts'
import type { SampleId } from '../../../core/ids.ts'
import { type BlobKey, keyText } from '../../blob-key.ts'
import type { Coordination } from '../../coordination/coordination.ts'
import type { BlobMetadata, BlobRequest, Blobs, RowRange, StoredBlob, StoredKey, WrittenBlob } from '../blobs.ts'
import { PublishedBlobs } from '../published-blobs.ts'

/** The tensors that the clients of one store in memory share. The last client that closes frees them. */
export class SharedTensors {
  readonly held = new Map<string, StoredBlob>()
  clients = 0
}

export interface MemoryBlobsOptions {
  readonly python: Python
  /** Decides which blobs are published; the bytes stay here. */
  readonly coordination: Pick<Coordination, 'notes' | 'publish' | 'withdraw'>
  /** What other clients of the same store use too. Default: new, for this client only. */
  readonly shared?: SharedTensors
}

/** Blobs in the memory of this process: the colocated baseline. */
export class MemoryBlobs implements Blobs {
  readonly #python: Python
  readonly #published: PublishedBlobs
  readonly #shared: SharedTensors

  constructor({ python, coordination, shared = new SharedTensors() }: MemoryBlobsOptions) {
    this.#python = python
    this.#published = new PublishedBlobs(coordination)
    this.#shared = shared
    shared.clients += 1
  }

  async write(key: BlobKey, tensors: TensorSet, metadata: BlobMetadata): Promise<WrittenBlob> {
    const copy = await this.#clone(tensors, null, null)
    const name = keyText(key)
    const { held } = this.#shared
    try {
      const { digests } = await this.#python.call('tensor.digest', { handle: copy.handle })
      if (held.has(name)) throw generationTaken(key)
      held.set(name, { tensors: copy, metadata, digests })
      if (!(await this.#published.publish(key, String(copy.bytes)))) throw generationTaken(key)
      return { digests, bytes: copy.bytes }
    } catch (error) {
      if (held.get(name)?.tensors === copy) held.delete(name)
      await copy[Symbol.asyncDispose]()
      throw error
    }
  }

  // Not hashed again: the stored copy never leaves this object, so nothing else can have written to it.
  async read(wanted: readonly BlobRequest[]): Promise<readonly (StoredBlob | Error | null)[]> {
    return Promise.all(
      wanted.map(async ({ key, names, rows }) => {
        if (!(await this.#published.has(key))) return null
        // Looked up and handed to Python in one turn of the event loop: a removal in between would free the tensors.
        const held = this.#shared.held.get(keyText(key))
        if (held === undefined) return null
        const { metadata, digests } = held
        return { tensors: await this.#clone(held.tensors, names, rows), metadata, digests }
      }),
    )
  }

  async has(key: BlobKey): Promise<boolean> {
    return (await this.#published.has(key)) && this.#shared.held.has(keyText(key))
  }

  async remove(key: BlobKey): Promise<number> {
    if (!(await this.#published.withdraw(key))) return 0
    const held = this.#shared.held.get(keyText(key))
    this.#shared.held.delete(keyText(key))
    await held?.tensors[Symbol.asyncDispose]()
    return held?.tensors.bytes ?? 0
  }

  /** Removes the blob: it could not be examined after this process ends. */
  quarantine(key: BlobKey): Promise<number> {
    return this.remove(key)
  }

  async list(sampleId?: SampleId): Promise<readonly StoredKey[]> {
    const keys = await this.#published.list(sampleId)
    return keys.flatMap((key) => {
      const held = this.#shared.held.get(keyText(key))
      return held === undefined ? [] : [{ ...key, bytes: held.tensors.bytes }]
    })
  }

  async close(): Promise<void> {
    this.#shared.clients -= 1
    if (this.#shared.clients > 0) return
    const all = [...this.#shared.held.values()]
    this.#shared.held.clear()
    for (const { tensors } of all) await tensors[Symbol.asyncDispose]()
  }

  async #clone(tensors: TensorSet, names: readonly string[] | null, rows: RowRange | null): Promise<TensorSet> {
    const wanted = { handle: tensors.handle, names: names === null ? null : [...names], rows }
    return new TensorSet(this.#python, await this.#python.call('tensor.clone', wanted))
  }
}

const generationTaken = (key: BlobKey): Error =>
  finding('STORE_BUSY', 'this generation is already taken', {
    field: keyText(key),
    found: 'a blob of another put',
    fix: 'put again',
  })
