import type { Python } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import type { Blobs } from '../../src/store/blobs/blobs.ts'
import { MemoryBlobs, SharedTensors } from '../../src/store/blobs/memory/memory-blobs.ts'
import type { Coordination } from '../../src/store/coordination/coordination.ts'
import { MemoryCoordination, SharedFacts } from '../../src/store/coordination/memory/memory-coordination.ts'
import type { Notes } from '../../src/store/coordination/notes.ts'
import type { StorePorts } from '../../src/store/store-parts.ts'

/** What several clients of one store in memory share. */
export interface SharedMemory {
  readonly tensors: SharedTensors
  readonly facts: SharedFacts
}
export const sharedMemory = (): SharedMemory => ({ tensors: new SharedTensors(), facts: new SharedFacts() })

/** One client of a store in memory. */
export function memoryPorts(python: Python, { tensors, facts }: SharedMemory = sharedMemory()): StorePorts {
  const coordination = new MemoryCoordination(facts)
  return { coordination, blobs: new MemoryBlobs({ python, coordination, shared: tensors }) }
}

/** Hollow sets that nobody has disposed of yet. */
export const hollow = { live: 0 }
const HOLLOW = { handle: 1, features: [{ name: 'x', shape: [2], dtype: 'int8' as const }], bytes: 2 }

/** Stands in for Python where nobody looks at bytes. */
const hollowPython = {
  async call(op: string) {
    if (op === 'tensor.digest') return { digests: { x: 'xxh3_64:0000000000000000' } }
    hollow.live += op === 'tensor.clone' ? 1 : -1
    return HOLLOW
  },
} as unknown as Python

/** A set that describes tensors and has none: enough for everything but their bytes. */
export function hollowSet(): TensorSet {
  hollow.live += 1
  return new TensorSet(hollowPython, HOLLOW)
}

export const hollowPorts = (memory: SharedMemory): WatchedPorts => new WatchedPorts(memoryPorts(hollowPython, memory))

type Call =
  | Exclude<keyof Blobs, 'list'>
  | 'list all'
  | 'list one'
  // Of the coordination, these two: an epoch's note and a lease's.
  | 'claimEpoch'
  | 'enter'

/** The ports that it is given; it writes down their calls, and the next call of a method can be made to fail or to wait. */
export class WatchedPorts implements StorePorts {
  readonly blobs: Blobs
  readonly coordination: Coordination
  readonly calls: Call[] = []
  readonly #failures = new Map<Call, Error>()
  readonly #stops = new Map<Call, () => Promise<void>>()

  constructor({ blobs, coordination }: StorePorts) {
    const called = (call: Call) => this.#called(call)
    this.blobs = watchedBlobs(blobs, called)
    this.coordination = watchedCoordination(coordination, called)
  }

  failOnce(call: Call, error: Error): void {
    this.#failures.set(call, error)
  }

  /** The next such call waits for `go`; `reached` says that it does. */
  stopOnce(call: Call): { readonly reached: Promise<void>; readonly go: () => void } {
    let go = (): void => undefined
    const going = new Promise<void>((resolve) => {
      go = resolve
    })
    const reached = new Promise<void>((resolve) => {
      this.#stops.set(call, () => {
        resolve()
        return going
      })
    })
    return { reached, go }
  }

  async #called(call: Call): Promise<void> {
    this.calls.push(call)
    await new Promise((resolve) => setImmediate(resolve))
    const stop = this.#stops.get(call)
    this.#stops.delete(call)
    await stop?.()
    const error = this.#failures.get(call)
    this.#failures.delete(call)
    if (error !== undefined) throw error
  }
}

function watchedBlobs(blobs: Blobs, called: (call: Call) => Promise<void>): Blobs {
  return {
    write: async (...given) => {
      await called('write')
      return blobs.write(...given)
    },
    read: async (wanted) => {
      await called('read')
      return blobs.read(wanted)
    },
    has: async (key) => {
      await called('has')
      return blobs.has(key)
    },
    remove: async (key) => {
      await called('remove')
      return blobs.remove(key)
    },
    list: async (sampleId) => {
      await called(sampleId === undefined ? 'list all' : 'list one')
      return blobs.list(sampleId)
    },
    quarantine: async (key, reason) => {
      await called('quarantine')
      return blobs.quarantine(key, reason)
    },
    close: async () => {
      await called('close')
      await blobs.close()
    },
  }
}

function watchedCoordination(coordination: Coordination, called: (call: Call) => Promise<void>): Coordination {
  const { memberId, spansProcesses, notes } = coordination
  return {
    memberId,
    spansProcesses,
    notes: watchedNotes(notes, called),
    publish: (name, text) => coordination.publish(name, text),
    publishOver: (name, text) => coordination.publishOver(name, text),
    withdraw: (name) => coordination.withdraw(name),
    sign: (name) => coordination.sign(name),
    signAway: (name) => coordination.signAway(name),
    enter: () => coordination.enter(),
    fence: (member) => coordination.fence(member),
    leave: () => coordination.leave(),
    inReserve: (task) => coordination.inReserve(task),
  }
}

function watchedNotes(notes: Notes, called: (call: Call) => Promise<void>): Notes {
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
    enter: async (name) => {
      await called('enter')
      return notes.enter(name)
    },
    leave: (name, sign) => notes.leave(name, sign),
    isNote: (name) => notes.isNote(name),
    removeFolder: (folder) => notes.removeFolder(folder),
    list: (folder) => notes.list(folder),
    rewrite: (name, text) => notes.rewrite(name, text),
  }
}
