import { randomInt } from 'node:crypto'
import { finding, hasCode } from '../../core/errors.ts'
import { NoteLock, type Peers } from '../coordination/note-lock.ts'
import type { Notes } from '../coordination/notes.ts'
import type { OpenSpace, Reservation, Space, SpaceUsage } from './space.ts'
import { parseUsage, takenBytes, type Usage, usageText } from './usage-note.ts'

const FOLDER = 'space'
const USAGE = `${FOLDER}/usage`
const LOCK = `${FOLDER}/lock`
/** While there is no count, a process that only frees checks for one at this interval. A put always checks. */
const CHECK_INTERVAL_MS = 1000

export interface CountedSpaceOptions {
  readonly notes: Notes
  readonly memberId: string
  readonly peers: Peers
  /** Lists the store and adds up its bytes: slow, so it runs only for a recount. */
  readonly count: () => Promise<number>
  /** Bytes that this process may let the store grow to. Null: no bound, but what it stores is counted all the same. */
  readonly quota: number | null
}

/** A reservation that waits for the lock. */
interface PendingReservation {
  readonly bytes: number
  readonly answer: (refusal: unknown) => void
}

/** A change of the stored bytes that is not in the usage note yet. */
interface PendingChange {
  readonly bytes: number
  /** For a removal: the last recount before it. A later recount does not include what was removed. Null for a put. */
  readonly counted: number | null
}

/** The usage that was read or recounted, and the changes of this process that it includes already. */
interface CurrentUsage {
  readonly usage: Usage
  readonly covered: readonly PendingChange[]
}

/**
 * The bytes of a store, counted by all its processes together, without a listing on the path of a put.
 *
 * The count begins when a store is first opened with a quota, and never ends. Bytes are added before a put and subtracted
 * after a removal, so a process that dies in between leaves the count too large and never too small. The next recount
 * corrects it, and a recount comes before every refusal.
 */
export class CountedSpace implements Space {
  readonly #notes: Notes
  readonly #options: CountedSpaceOptions
  readonly #lock: NoteLock
  /** The id of the recount that was last read; null while there is no count. */
  #counted: number | null = null
  #opened: Promise<void> | undefined
  #checkedMs = Number.NEGATIVE_INFINITY
  #reserved = 0
  #changes: readonly PendingChange[] = []
  #pending: PendingReservation[] = []
  #stale = false
  #written = true
  #running: Promise<unknown> = Promise.resolve()
  #waiting: Promise<void> | undefined

  constructor(options: CountedSpaceOptions) {
    this.#notes = options.notes
    this.#options = options
    this.#lock = new NoteLock(options.notes, LOCK, options.memberId, options.peers)
  }

  /** Begins the count if a quota was given, and finds out whether another process has begun it. */
  open(): Promise<void> {
    this.#opened ??= this.#open().catch((error: unknown) => {
      this.#opened = undefined
      throw error
    })
    return this.#opened
  }

  /** @throws STORE_OVER_BUDGET when the quota does not allow `bytes` more, even after a recount. */
  async reserve(bytes: number): Promise<Reservation> {
    await this.open()
    if (this.#counted === null) return this.#uncounted()
    await new Promise<void>((resolve, reject) => {
      this.#pending.push({ bytes, answer: (refusal) => (refusal === null ? resolve() : reject(refusal)) })
      // An error of the write reaches every pending reservation through its `answer`.
      this.#scheduleWrite().catch(() => undefined)
    })
    const release = (changes: readonly PendingChange[]) => {
      this.#reserved -= bytes
      return this.#record(changes)
    }
    return { commit: (actual) => release([{ bytes: actual, counted: null }]), cancel: () => release([]) }
  }

  /** Call it before a removal, and the function that it returns after the removal, with the bytes that became free. */
  freeing(): (bytes: number) => Promise<void> {
    const counted = this.#counted
    return async (bytes) => {
      if (bytes === 0) return
      if (counted !== null) return this.#record([{ bytes: -bytes, counted }])
      if (performance.now() - this.#checkedMs > CHECK_INTERVAL_MS) await this.#findCount()
    }
  }

  /** Counts the store again and drops the reservations of dead processes. Does nothing while there is no count. */
  async recount(): Promise<void> {
    await this.#findCount()
    if (this.#counted === null) return
    this.#stale = true
    await this.#scheduleWrite()
  }

  /** The recorded count; without one the store is listed. */
  async usage(): Promise<SpaceUsage> {
    return (await this.recorded()) ?? { bytes: await this.#options.count(), quota: this.#options.quota }
  }

  async recorded(): Promise<SpaceUsage | null> {
    const noted = await this.#noted()
    return noted === null ? null : { bytes: noted.bytes, quota: this.#options.quota ?? noted.quota }
  }

  async #noted(): Promise<Usage | null> {
    const text = await this.#notes.read(USAGE)
    return text === null ? null : parseUsage(text)
  }

  async #open(): Promise<void> {
    await this.#findCount()
    if (this.#options.quota !== null) await this.#scheduleWrite()
  }

  // Looks for a count only after publishing: one that begins later includes the object, one that began before does not.
  #uncounted(): Reservation {
    const commit = async (bytes: number) => {
      await this.#findCount()
      if (this.#counted !== null) await this.#record([{ bytes, counted: null }])
    }
    return { commit, cancel: async () => {} }
  }

  async #findCount(): Promise<void> {
    this.#checkedMs = performance.now()
    const text = await this.#notes.read(USAGE)
    // A damaged note is a count too: the next process that changes it recounts.
    if (text !== null) this.#counted = parseUsage(text)?.counted ?? 0
  }

  // The put or removal itself is done. If the note cannot be written now, the change goes in with the next one.
  async #record(changes: readonly PendingChange[]): Promise<void> {
    this.#changes = [...this.#changes, ...changes]
    await this.#scheduleWrite().catch((error: unknown) => {
      if (!hasCode(error, 'STORE_BUSY', 'STORE_FULL')) throw error
    })
  }

  // Changes that arrive while an earlier write waits for the lock are written together with it.
  #scheduleWrite(): Promise<void> {
    this.#written = false
    this.#waiting ??= this.#running.then(() => {
      this.#waiting = undefined
      return this.#written ? undefined : this.#write()
    })
    this.#running = this.#waiting.catch(() => undefined)
    return this.#waiting
  }

  // Answers after the lock was released: a caller may end the process as soon as it has its answer.
  async #write(): Promise<void> {
    let pending: readonly PendingReservation[] = []
    try {
      const refusals = await this.#lock.run(async () => {
        this.#written = true
        pending = this.#pending.splice(0)
        return this.#change(pending)
      })
      for (const reservation of pending) reservation.answer(refusals.get(reservation) ?? null)
    } catch (error) {
      this.#written = false
      for (const { answer } of [...pending, ...this.#pending.splice(0)]) answer(error)
      throw error
    }
  }

  async #change(pending: readonly PendingReservation[]): Promise<ReadonlyMap<PendingReservation, Error>> {
    // GlusterFS may give a note as it was a second ago, before another process replaced it, unless its folder is listed.
    await this.#notes.list(FOLDER)
    const known = await this.#noted()
    let found = known === null || this.#stale ? await this.#recounted(known) : { usage: known, covered: [] }
    let entry = this.#entry(found, pending)
    if (entry.refusals.size > 0 && found.usage === known) {
      found = await this.#recounted(known)
      entry = this.#entry(found, pending)
    }
    await this.#notes.write(USAGE, usageText(entry.usage))
    this.#stale = false
    this.#counted = entry.usage.counted
    this.#reserved += entry.granted
    this.#changes = this.#changes.filter((change) => !entry.included.has(change))
    return entry.refusals
  }

  /** The usage to write, and which reservations are refused. Synchronous, so that nothing changes meanwhile. */
  #entry({ usage, covered }: CurrentUsage, pending: readonly PendingReservation[]) {
    const { memberId, quota } = this.#options
    const due = this.#changes.filter((change) => !covered.includes(change))
    const valid = due.filter(({ counted }) => counted === null || counted === usage.counted)
    const bytes = Math.max(
      0,
      valid.reduce((sum, change) => sum + change.bytes, usage.bytes),
    )
    const { [memberId]: _, ...others } = usage.reserved
    const taken = takenBytes({ ...usage, bytes, reserved: others }) + this.#reserved
    const refusals = new Map<PendingReservation, Error>()
    let granted = 0
    for (const reservation of pending) {
      if (quota === null || taken + granted + reservation.bytes <= quota) granted += reservation.bytes
      else refusals.set(reservation, overBudget(reservation.bytes, taken + granted, quota))
    }
    const mine = this.#reserved + granted
    const reserved = mine > 0 ? { ...others, [memberId]: mine } : others
    const included = new Set([...covered, ...due])
    return { usage: { ...usage, bytes, reserved, quota: quota ?? usage.quota }, granted, refusals, included }
  }

  async #recounted(known: Usage | null): Promise<CurrentUsage> {
    // Announced before the listing: a put that finds no note afterwards was published before, and is listed.
    if (known === null) await this.#notes.write(USAGE, '')
    const reserved: Record<string, number> = {}
    for (const [member, bytes] of Object.entries(known?.reserved ?? {})) {
      // Fenced before the listing, so that all it published is listed and it publishes nothing afterwards.
      if (member === this.#options.memberId) continue
      if (await this.#options.peers.dead(member)) await this.#options.peers.fence(member)
      else reserved[member] = bytes
    }
    const covered = this.#changes
    const bytes = await this.#options.count()
    const usage = { version: 1 as const, bytes, counted: randomInt(1, 2 ** 47), quota: known?.quota ?? null, reserved }
    return { usage, covered }
  }
}

/** Counts for a store with `quota`. A count that another process has begun is continued without a quota too. */
export const countedSpace =
  (quota: number | null): OpenSpace =>
  ({ notes, members, count }) =>
    new CountedSpace({ notes, memberId: members.id, peers: members, count, quota })

function overBudget(need: number, taken: number, quota: number): Error {
  return finding('STORE_OVER_BUDGET', 'the sample does not fit into the quota of the store; nothing was changed', {
    field: 'store.quota',
    found: `it needs ${need} bytes; ${taken} of ${quota} are in use`,
    fix: 'free samples (draftbridge store ls, store rm RUN, store gc) or raise store.quota, then run the command again',
  })
}
