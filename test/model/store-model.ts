import type { SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { keyText } from '../../src/store/blob-key.ts'

/** One put, and what has become of it. */
export interface Known {
  readonly ref: SampleRef
  readonly seed: number
  stored: boolean
  /** A holder has done its work: whoever lets go last frees it. */
  consumed: boolean
  acknowledged: boolean
  /** How many holds each client has. */
  readonly holders: Map<number, number>
  /** Clients that have consumed it and still hold it otherwise. */
  readonly consumers: Set<number>
  claimant: number | null
}

export type Expected = 'ours' | 'SAMPLE_STALE' | 'SAMPLE_NOT_FOUND' | 'STORE_BUSY'

/** A store in the words of its promises: plain maps, no files, no races. Clients are numbers and never come back. */
export class StoreModel {
  readonly known: Known[] = []
  readonly #dead = new Set<number>()
  readonly #retain: boolean

  constructor(retain: boolean) {
    this.#retain = retain
  }

  put(ref: SampleRef, seed: number): void {
    for (const older of this.known) if (older.ref.sampleId === ref.sampleId) older.stored = false
    this.known.push({
      ref,
      seed,
      stored: true,
      consumed: false,
      acknowledged: false,
      holders: new Map(),
      consumers: new Set(),
      claimant: null,
    })
  }

  abort(sampleId: SampleId): void {
    for (const one of this.known) if (one.ref.sampleId === sampleId) one.stored = false
  }

  get(client: number, one: Known): Expected {
    if (!one.stored) return this.#missing(one)
    this.#take(client, one)
    return 'ours'
  }

  claim(client: number, one: Known): Expected {
    const { claimant } = one
    if (claimant === client) return 'STORE_BUSY'
    // Its work is done: it only waits for those who read it.
    if (one.acknowledged || (claimant !== null && one.consumed)) {
      this.#freeIfDone(one)
      return this.#missing(one)
    }
    if (claimant !== null && !this.#dead.has(claimant)) return 'STORE_BUSY'
    one.claimant = null
    if (!one.stored) return this.#missing(one)
    one.claimant = client
    return 'ours'
  }

  release(client: number, one: Known): void {
    this.#drop(client, one, !this.#retain)
  }

  acknowledge(client: number, one: Known): 'ours' | 'STORE_BUSY' {
    if (one.claimant !== client) return 'STORE_BUSY'
    one.claimant = null
    one.acknowledged = !this.#retain
    one.consumed ||= one.acknowledged
    this.#freeIfDone(one)
    return 'ours'
  }

  giveBack(client: number, one: Known): void {
    if (one.claimant === client) one.claimant = null
  }

  /** Everything it held comes back unused. */
  close(client: number): void {
    for (const one of this.known) {
      if (one.claimant === client) one.claimant = null
      if (!one.holders.delete(client)) continue
      one.consumers.delete(client)
      this.#freeIfDone(one)
    }
  }

  /** Nobody notices at once: what it held is given back when somebody wants it. */
  kill(client: number): void {
    this.#dead.add(client)
    for (const one of this.known) {
      one.holders.delete(client)
      one.consumers.delete(client)
    }
  }

  sweep(): void {
    for (const one of this.known) {
      if (one.claimant !== null && this.#dead.has(one.claimant)) one.claimant = null
      this.#freeIfDone(one)
    }
  }

  stored(): readonly string[] {
    return this.known
      .filter((one) => one.stored)
      .map((one) => keyText(one.ref))
      .sort()
  }

  #missing(one: Known): Expected {
    const newer = (other: Known) => other.stored && other.ref.sampleId === one.ref.sampleId
    return this.known.some((other) => newer(other) && other.ref.generation > one.ref.generation)
      ? 'SAMPLE_STALE'
      : 'SAMPLE_NOT_FOUND'
  }

  #take(client: number, one: Known): void {
    one.holders.set(client, (one.holders.get(client) ?? 0) + 1)
  }

  #drop(client: number, one: Known, consumed: boolean): void {
    const left = (one.holders.get(client) ?? 0) - 1
    if (consumed) one.consumers.add(client)
    if (left > 0) {
      one.holders.set(client, left)
      return
    }
    one.holders.delete(client)
    if (one.consumers.delete(client)) one.consumed = true
    this.#freeIfDone(one)
  }

  #freeIfDone(one: Known): void {
    if (!one.consumed || one.holders.size > 0) return
    one.stored = false
  }
}
