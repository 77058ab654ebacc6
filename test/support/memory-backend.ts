import { randomBytes } from 'node:crypto'
import type { Python } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import type { SampleId } from '../../src/core/ids.ts'
import type {
  BlobKey,
  BlobMetadata,
  BlobRequest,
  StoreBackend,
  StoredBlob,
  StoredKey,
  WrittenBlob,
} from '../../src/store/backend.ts'
import { LocalNotes } from '../../src/store/backends/local-notes.ts'
import type { Notes } from '../../src/store/notes.ts'

const digests = { x: 'xxh3_64:0000000000000000' }
const noPython = { call: async () => ({}) } as unknown as Python

/** A set that describes tensors and has none: enough for everything but their bytes. */
export const hollowSet = () =>
  new TensorSet(noPython, { handle: 1, features: [{ name: 'x', shape: [2], dtype: 'int8' }], bytes: 2 })

/** A backend without bytes, whose next call of a method can be made to fail. Two of them may share one `disk`. */
export class MemoryBackend implements StoreBackend {
  readonly name = 'memory'
  readonly traits = { shared: true, outlivesProcess: false }
  readonly memberId = `m${randomBytes(8).toString('hex')}`
  readonly calls: string[] = []
  readonly notes: Notes
  readonly #disk: Disk
  readonly #failures = new Map<string, Error>()

  constructor(disk: Disk = newDisk()) {
    this.#disk = disk
    this.notes = countingClaims(disk.notes, () => this.#called('claimEpoch'))
  }

  failOnce(method: keyof StoreBackend | 'claimEpoch', error: Error): void {
    this.#failures.set(method, error)
  }

  keys(): string[] {
    return [...this.#disk.blobs.keys()]
  }

  async write(key: BlobKey, _: TensorSet, metadata: BlobMetadata): Promise<WrittenBlob> {
    await this.#called('write')
    this.#disk.blobs.set(nameOf(key), { key, metadata })
    return { digests, bytes: 2 }
  }

  async read(wanted: readonly BlobRequest[]): Promise<readonly (StoredBlob | Error | null)[]> {
    await this.#called('read')
    return wanted.map(({ key }) => {
      const found = this.#disk.blobs.get(nameOf(key))
      return found === undefined ? null : { tensors: hollowSet(), metadata: found.metadata, digests }
    })
  }

  async remove(key: BlobKey): Promise<number> {
    await this.#called('remove')
    return this.#disk.blobs.delete(nameOf(key)) ? 2 : 0
  }

  quarantine(key: BlobKey): Promise<number> {
    return this.remove(key)
  }

  async list(sampleId?: SampleId): Promise<readonly StoredKey[]> {
    await this.#called(sampleId === undefined ? 'list all' : 'list one')
    const keys = [...this.#disk.blobs.values()].map((blob) => ({ ...blob.key, bytes: 2 }))
    return sampleId === undefined ? keys : keys.filter((key) => key.sampleId === sampleId)
  }

  async enter(): Promise<void> {}
  async fence(): Promise<void> {}
  async leave(): Promise<void> {}

  async close(): Promise<void> {
    await this.#called('close')
  }

  async #called(method: string): Promise<void> {
    this.calls.push(method)
    await new Promise((resolve) => setImmediate(resolve))
    const error = this.#failures.get(method)
    this.#failures.delete(method)
    if (error !== undefined) throw error
  }
}

export interface Disk {
  readonly blobs: Map<string, { readonly key: BlobKey; readonly metadata: BlobMetadata }>
  readonly notes: LocalNotes
}
export const newDisk = (): Disk => ({ blobs: new Map(), notes: new LocalNotes() })
const nameOf = ({ sampleId, generation }: BlobKey): string => `${sampleId}@${generation}`

/** The same notes; `claimed` runs before each epoch claim and may make it fail. */
function countingClaims(notes: Notes, claimed: () => Promise<void>): Notes {
  return {
    create: async (name, text) => {
      if (name.startsWith('epochs/')) await claimed()
      return notes.create(name, text)
    },
    createAlone: (name, text) => notes.createAlone(name, text),
    write: (name, text) => notes.write(name, text),
    read: (name) => notes.read(name),
    move: (from, to) => notes.move(from, to),
    remove: (name) => notes.remove(name),
    enter: (name, sign) => notes.enter(name, sign),
    leave: (name, sign) => notes.leave(name, sign),
    removeFolder: (folder) => notes.removeFolder(folder),
    list: (folder) => notes.list(folder),
    touch: (name) => notes.touch(name),
    age: (name) => notes.age(name),
  }
}
