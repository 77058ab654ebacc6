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
import type { Notes } from '../../src/store/coordination/notes.ts'

const digests = { x: 'xxh3_64:0000000000000000' }
/** Hollow sets that nobody has disposed of yet. */
export const hollow = { live: 0 }
const noPython = {
  call: async () => {
    hollow.live -= 1
    return {}
  },
} as unknown as Python

/** A set that describes tensors and has none: enough for everything but their bytes. */
export const hollowSet = () => {
  hollow.live += 1
  return new TensorSet(noPython, { handle: 1, features: [{ name: 'x', shape: [2], dtype: 'int8' }], bytes: 2 })
}

type Method = keyof StoreBackend | 'claimEpoch' | 'enter'

/** A backend without bytes, whose next call of a method can be made to fail or to wait. Two may share one `disk`. */
export class MemoryBackend implements StoreBackend {
  readonly name = 'memory'
  readonly traits = { shared: true, outlivesProcess: false }
  readonly memberId = `m${randomBytes(8).toString('hex')}`
  readonly calls: string[] = []
  readonly notes: Notes
  readonly #disk: Disk
  readonly #failures = new Map<string, Error>()
  readonly #stops = new Map<string, () => Promise<void>>()

  constructor(disk: Disk = newDisk()) {
    this.#disk = disk
    this.notes = watched(disk.notes, (method) => this.#called(method))
  }

  failOnce(method: Method, error: Error): void {
    this.#failures.set(method, error)
  }

  /** The next call of `method` waits for `go`; `reached` says that it does. */
  stopOnce(method: Method): { readonly reached: Promise<void>; readonly go: () => void } {
    let go: () => void = () => undefined
    const going = new Promise<void>((resolve) => {
      go = resolve
    })
    const reached = new Promise<void>((resolve) => {
      this.#stops.set(method, () => {
        resolve()
        return going
      })
    })
    return { reached, go }
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

  async has(key: BlobKey): Promise<boolean> {
    await this.#called('has')
    return this.#disk.blobs.has(nameOf(key))
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
    const stop = this.#stops.get(method)
    this.#stops.delete(method)
    await stop?.()
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

/** The same notes; `called` runs before each epoch claim and each lease, and may make them fail. */
function watched(notes: Notes, called: (method: Method) => Promise<void>): Notes {
  return {
    create: async (name, text) => {
      if (name.startsWith('epochs/')) await called('claimEpoch')
      return notes.create(name, text)
    },
    createAlone: (name, text) => notes.createAlone(name, text),
    write: (name, text) => notes.write(name, text),
    read: (name) => notes.read(name),
    has: (name) => notes.has(name),
    move: (from, to) => notes.move(from, to),
    remove: (name) => notes.remove(name),
    enter: async (name, sign) => {
      await called('enter')
      return notes.enter(name, sign)
    },
    leave: (name, sign) => notes.leave(name, sign),
    removeFolder: (folder) => notes.removeFolder(folder),
    list: (folder) => notes.list(folder),
    touch: (name) => notes.touch(name),
    age: (name) => notes.age(name),
  }
}
