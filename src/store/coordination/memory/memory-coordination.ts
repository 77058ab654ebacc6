import { randomBytes, randomInt } from 'node:crypto'
import { finding } from '../../../core/errors.ts'
import { NOBODY } from '../claim-notes.ts'
import type { Coordination } from '../coordination.ts'
import { MemoryNotes } from './memory-notes.ts'

/** What the clients of one store in memory share. */
export class SharedFacts {
  readonly notes = new MemoryNotes()
  readonly fenced = new Set<string>()

  constructor() {
    // A store id may be chosen by hand and come again in the next process; its generations must not.
    void this.notes.create(`epochs/${randomInt(1, 2 ** 31)}`, '')
  }
}

/** Coordination of clients that all live in this process. */
export class MemoryCoordination implements Coordination {
  readonly memberId = `m${randomBytes(8).toString('hex')}`
  readonly spansProcesses = false
  readonly notes: MemoryNotes
  readonly #facts: SharedFacts

  constructor(facts: SharedFacts = new SharedFacts()) {
    this.#facts = facts
    this.notes = facts.notes
  }

  // The check and the change must stay in one turn of the event loop: a fence may come in any other.
  async publish(name: string, text: string): Promise<boolean> {
    this.#expectNotFenced()
    return this.notes.create(name, text)
  }

  async publishOver(name: string, text: string): Promise<void> {
    this.#expectNotFenced()
    await this.notes.write(name, text)
  }

  async withdraw(name: string): Promise<boolean> {
    this.#expectNotFenced()
    return this.notes.remove(name)
  }

  async sign(name: string): Promise<boolean> {
    return (await this.notes.create(name, this.memberId)) || (await this.notes.read(name)) === this.memberId
  }

  signAway(name: string): Promise<boolean> {
    return this.notes.create(name, NOBODY)
  }

  async enter(): Promise<void> {}

  async fence(memberId: string): Promise<void> {
    this.#facts.fenced.add(memberId)
  }

  async leave(): Promise<void> {
    this.#facts.fenced.add(this.memberId)
  }

  // Memory never says that it is full.
  inReserve<T>(task: () => Promise<T>): Promise<T> {
    return task()
  }

  #expectNotFenced(): void {
    if (!this.#facts.fenced.has(this.memberId)) return
    throw finding('STORE_BUSY', 'this client of the store was taken for dead', { found: `member ${this.memberId}` })
  }
}
