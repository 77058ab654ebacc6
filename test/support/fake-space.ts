import { mkdir, readdir, stat, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Peers } from '../../src/store/coordination/note-lock.ts'
import type { Notes } from '../../src/store/coordination/notes.ts'
import { CountedSpace } from '../../src/store/space/counted-space.ts'

/** What is stored, as far as space goes. */
export interface Objects {
  add(name: string, bytes: number): Promise<void>
  remove(name: string): Promise<void>
  count(): Promise<number>
}

export class ObjectsInMemory implements Objects {
  readonly sizes = new Map<string, number>()
  listings = 0
  /** The most that was ever stored at once. */
  peak = 0

  async add(name: string, bytes: number): Promise<void> {
    this.sizes.set(name, bytes)
    this.peak = Math.max(this.peak, this.total)
  }

  async remove(name: string): Promise<void> {
    this.sizes.delete(name)
  }

  async count(): Promise<number> {
    this.listings += 1
    return this.total
  }

  get total(): number {
    return [...this.sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
  }
}

/** Files of the size that is asked for, so that two processes can look at them. */
export const objectsInFolder = (dir: string): Objects => ({
  async add(name, bytes) {
    await mkdir(dir, { recursive: true })
    await writeFile(path.join(dir, name), Buffer.alloc(bytes))
  },
  remove: (name) => unlink(path.join(dir, name)),
  async count() {
    const names = await readdir(dir).catch(() => [])
    const sizes = await Promise.all(names.map((name) => stat(path.join(dir, name))))
    return sizes.reduce((sum, { size }) => sum + size, 0)
  },
})

/** Members whose death is decided by the test. */
export class FakePeers implements Peers {
  readonly gone = new Set<string>()
  readonly fenced: string[] = []
  async join(): Promise<void> {}
  async dead(memberId: string): Promise<boolean> {
    return this.gone.has(memberId)
  }
  async fence(memberId: string): Promise<void> {
    this.fenced.push(memberId)
  }
}

export interface World {
  readonly notes: Notes
  readonly objects: Objects
  readonly peers: Peers
}

let members = 0

/** One member's books, and what it does with them. */
export async function memberIn(world: World, quota: number | null, memberId = `m${process.pid}-${members++}`) {
  const { notes, peers, objects } = world
  const book = new CountedSpace({ notes, memberId, peers, quota, count: () => objects.count() })
  await book.open()
  return {
    book,
    memberId,
    async put(name: string, bytes: number, estimate = bytes): Promise<void> {
      const reservation = await book.reserve(estimate)
      await objects.add(name, bytes)
      await reservation.commit(bytes)
    },
    async remove(name: string, bytes: number): Promise<void> {
      const freed = book.freeing()
      await objects.remove(name)
      await freed(bytes)
    },
  }
}
