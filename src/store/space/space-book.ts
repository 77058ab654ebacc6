import { randomInt } from 'node:crypto'
import { finding, hasCode } from '../../core/errors.ts'
import { NoteLock, type Peers } from '../coordination/note-lock.ts'
import type { Notes } from '../coordination/notes.ts'
import type { OpenSpace } from '../store-parts.ts'
import type { Reservation, Space, SpaceUsage } from './space.ts'
import { parseUsage, takenBytes, type Usage, usageText } from './usage-note.ts'

const USAGE = 'space/usage'
const LOCK = 'space/lock'
/** Until accounting begins, somebody who only frees looks for it this often. Whoever puts looks every time. */
const LOOK_MS = 1000

export interface SpaceBookOptions {
  readonly notes: Notes
  readonly memberId: string
  readonly peers: Peers
  /** Lists the store and adds up: slow, and done only before a refusal. */
  readonly count: () => Promise<number>
  /** Bytes that this process may let the store grow to. Null: no bound, but what it stores is counted all the same. */
  readonly quota: number | null
}

interface Ask {
  readonly bytes: number
  readonly answer: (refusal: unknown) => void
}

/** A change of the stored bytes that is not on the books yet. */
interface Owed {
  readonly bytes: number
  /** For what was removed: the recount that knew it last. A later one has not counted it. */
  readonly counted: number | null
}

/** The books as somebody found them, and what of ours they hold already. */
interface Found {
  readonly usage: Usage
  readonly covered: readonly Owed[]
}

/**
 * The bytes of a store, counted by all its processes together, without a listing on the path of a put.
 *
 * Accounting begins when a store is first opened with a quota, and never ends. Room is reserved before a put and taken
 * off the books after a removal, so a process that dies in between leaves too much on them and never too little. What
 * is too much goes with the next recount, and a recount comes before every refusal.
 */
export class SpaceBook implements Space {
  readonly #notes: Notes
  readonly #options: SpaceBookOptions
  readonly #lock: NoteLock
  /** The recount that was last seen; null while nobody keeps the books. */
  #counted: number | null = null
  #opened: Promise<void> | undefined
  #looked = Number.NEGATIVE_INFINITY
  #reserved = 0
  #owed: readonly Owed[] = []
  #asks: Ask[] = []
  #stale = false
  #written = true
  #running: Promise<unknown> = Promise.resolve()
  #waiting: Promise<void> | undefined

  constructor(options: SpaceBookOptions) {
    this.#notes = options.notes
    this.#options = options
    this.#lock = new NoteLock(options.notes, LOCK, options.memberId, options.peers)
  }

  /** Begins the accounting where a quota was given, and finds out whether somebody else has begun it. */
  open(): Promise<void> {
    this.#opened ??= this.#open().catch((error: unknown) => {
      this.#opened = undefined
      throw error
    })
    return this.#opened
  }

  /** @throws STORE_OVER_BUDGET when the store has no room for `bytes` more, even after a recount. */
  async reserve(bytes: number): Promise<Reservation> {
    await this.open()
    if (this.#counted === null) return this.#unkept()
    await new Promise<void>((resolve, reject) => {
      this.#asks.push({ bytes, answer: (refusal) => (refusal === null ? resolve() : reject(refusal)) })
      // What fails for all is told to each.
      this.#turn().catch(() => undefined)
    })
    const give = (owed: readonly Owed[]) => {
      this.#reserved -= bytes
      return this.#settle(owed)
    }
    return { commit: (actual) => give([{ bytes: actual, counted: null }]), cancel: () => give([]) }
  }

  /** Call it before a removal, and what it gives after it, with the bytes that became free. */
  freeing(): (bytes: number) => Promise<void> {
    const counted = this.#counted
    return async (bytes) => {
      if (bytes === 0) return
      if (counted !== null) return this.#settle([{ bytes: -bytes, counted }])
      if (performance.now() - this.#looked > LOOK_MS) await this.#look()
    }
  }

  /** Counts the store anew and forgets what dead processes had reserved. Does nothing where nobody keeps the books. */
  async recount(): Promise<void> {
    await this.#look()
    if (this.#counted === null) return
    this.#stale = true
    await this.#turn()
  }

  /** What is on the books; without books the store is listed. */
  async usage(): Promise<SpaceUsage> {
    return (await this.kept()) ?? { bytes: await this.#options.count(), quota: this.#options.quota }
  }

  async kept(): Promise<SpaceUsage | null> {
    const noted = await this.#noted()
    return noted === null ? null : { bytes: noted.bytes, quota: this.#options.quota ?? noted.quota }
  }

  async #noted(): Promise<Usage | null> {
    const text = await this.#notes.read(USAGE)
    return text === null ? null : parseUsage(text)
  }

  async #open(): Promise<void> {
    await this.#look()
    if (this.#options.quota !== null) await this.#turn()
  }

  // Looked for only after publishing: books that are begun later count the object, those begun before must hear of it.
  #unkept(): Reservation {
    const commit = async (bytes: number) => {
      await this.#look()
      if (this.#counted !== null) await this.#settle([{ bytes, counted: null }])
    }
    return { commit, cancel: async () => {} }
  }

  async #look(): Promise<void> {
    this.#looked = performance.now()
    const text = await this.#notes.read(USAGE)
    // Damaged ones are books too: whoever changes them next counts again.
    if (text !== null) this.#counted = parseUsage(text)?.counted ?? 0
  }

  // The change itself is done. Books that cannot be written now hold too much, and get it with the next change.
  async #settle(owed: readonly Owed[]): Promise<void> {
    this.#owed = [...this.#owed, ...owed]
    await this.#turn().catch((error: unknown) => {
      if (!hasCode(error, 'STORE_BUSY', 'STORE_FULL')) throw error
    })
  }

  // What comes up while others wait for the lock is written with theirs.
  #turn(): Promise<void> {
    this.#written = false
    this.#waiting ??= this.#running.then(() => {
      this.#waiting = undefined
      return this.#written ? undefined : this.#write()
    })
    this.#running = this.#waiting.catch(() => undefined)
    return this.#waiting
  }

  // Answered after the lock is gone: whoever hears that all is done may end the process at once.
  async #write(): Promise<void> {
    let asks: readonly Ask[] = []
    try {
      const refusals = await this.#lock.run(async () => {
        this.#written = true
        asks = this.#asks.splice(0)
        return this.#change(asks)
      })
      for (const ask of asks) ask.answer(refusals.get(ask) ?? null)
    } catch (error) {
      this.#written = false
      for (const { answer } of [...asks, ...this.#asks.splice(0)]) answer(error)
      throw error
    }
  }

  async #change(asks: readonly Ask[]): Promise<ReadonlyMap<Ask, Error>> {
    const known = await this.#noted()
    let found = known === null || this.#stale ? await this.#recounted(known) : { usage: known, covered: [] }
    let entry = this.#entry(found, asks)
    if (entry.refusals.size > 0 && found.usage === known) {
      found = await this.#recounted(known)
      entry = this.#entry(found, asks)
    }
    await this.#notes.write(USAGE, usageText(entry.usage))
    this.#stale = false
    this.#counted = entry.usage.counted
    this.#reserved += entry.granted
    this.#owed = this.#owed.filter((owed) => !entry.entered.has(owed))
    return entry.refusals
  }

  /** What the books shall say. Takes no time, so that nothing of ours changes between its lines. */
  #entry({ usage, covered }: Found, asks: readonly Ask[]) {
    const { memberId, quota } = this.#options
    const due = this.#owed.filter((owed) => !covered.includes(owed))
    const valid = due.filter(({ counted }) => counted === null || counted === usage.counted)
    const bytes = Math.max(
      0,
      valid.reduce((sum, owed) => sum + owed.bytes, usage.bytes),
    )
    const { [memberId]: _, ...others } = usage.reserved
    const taken = takenBytes({ ...usage, bytes, reserved: others }) + this.#reserved
    const refusals = new Map<Ask, Error>()
    let granted = 0
    for (const ask of asks) {
      if (quota === null || taken + granted + ask.bytes <= quota) granted += ask.bytes
      else refusals.set(ask, overBudget(ask.bytes, taken + granted, quota))
    }
    const mine = this.#reserved + granted
    const reserved = mine > 0 ? { ...others, [memberId]: mine } : others
    const entered = new Set([...covered, ...due])
    return { usage: { ...usage, bytes, reserved, quota: quota ?? usage.quota }, granted, refusals, entered }
  }

  async #recounted(known: Usage | null): Promise<Found> {
    // Announced before the listing: who publishes and then finds no note published before it, and is listed.
    if (known === null) await this.#notes.write(USAGE, '')
    const reserved: Record<string, number> = {}
    for (const [member, bytes] of Object.entries(known?.reserved ?? {})) {
      // Fenced before the listing, so that what it did publish is listed and nothing comes after.
      if (member === this.#options.memberId) continue
      if (await this.#options.peers.dead(member)) await this.#options.peers.fence(member)
      else reserved[member] = bytes
    }
    const covered = this.#owed
    const bytes = await this.#options.count()
    const usage = { version: 1 as const, bytes, counted: randomInt(1, 2 ** 47), quota: known?.quota ?? null, reserved }
    return { usage, covered }
  }
}

/** Books for a store with `quota`; those that somebody else has begun are kept without one too. */
export const bookedSpace =
  (quota: number | null): OpenSpace =>
  ({ notes, members, count }) =>
    new SpaceBook({ notes, memberId: members.id, peers: members, count, quota })

function overBudget(need: number, taken: number, quota: number): Error {
  return finding('STORE_OVER_BUDGET', 'the store has no room for this sample within its quota; nothing was changed', {
    field: 'store.quota',
    found: `a need of ${need} bytes; ${taken} of ${quota} are taken`,
    fix: 'free samples (draftbridge store ls, store rm RUN, store gc) or raise store.quota, then start again',
  })
}
