import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from '../../core/errors.ts'
import { type BlobKey, keySegment, keyText } from '../blob-key.ts'
import { SerialQueue } from '../serial-queue.ts'
import { claimed, unlessFenced } from './claim-errors.ts'
import { claimNote, consumedNote, lastTurns, NOBODY } from './claim-notes.ts'
import type { Coordination } from './coordination.ts'
import type { Members } from './members.ts'

const ROUNDS = 20
const PAUSE_MS = 100
/** After this time what could not be given back is tried again. */
const SETTLE_MS = 5000
const MEMBER = /^m[0-9a-f]{16}$/
const DEAD = { state: 'dead' } as const

/** `gone`: the sample is consumed, and is being freed. */
export type ClaimOutcome = 'ours' | 'gone'

/** A claim of this process, or an attempt at one. */
interface Held {
  readonly key: BlobKey
  turn: number
  /** The attempt failed with an error: nobody knows whether the turn is ours. */
  isDoubtful: boolean
  /** An acknowledgement was tried, and may count although it failed. */
  isAcknowledging: boolean
  /** The sample is gone, and its claims with it. */
  isEnded: boolean
}

/**
 * Claims: the right of one member, among all processes, to do the work on a sample. k stands for <sampleId>.<generation>.
 * The claims on a sample are turns, one note each: claims/k, claims/k:1, claims/k:2 and so on. The last one counts. It
 * names a member, or nobody.
 *
 * claim:       create the first turn's note. If it is there, read it. Nobody: try the turn after it. A living member: busy,
 *              if its turn is the last one. A dead member: fence it. If there is no consumed/k then, try the turn after it.
 * acknowledge: publish consumed/k: THE COMMIT POINT. It fails once this member was fenced. Then the sample is freed (see
 *              SharedLeases), and all its turns after it.
 * give back:   create the next turn's note, which names nobody. If a member has taken that turn, the claim was lost. After an
 *              acknowledgement that failed only if there is no consumed/k: it may count.
 *
 * Whoever gets a claim must see afterwards that the sample is stored (`Blobs.has`): the turns are removed after the sample.
 * A file system may answer a look out of its cache, so no look decides: only an exclusive creation or a rename does. While
 * the sample is stored, a turn's note is never changed, removed or made again. So what was read of a turn once stays true,
 * and a member that knows only old turns fails to create the next one.
 * Nothing is acknowledged twice: a turn is taken after the member before it gave the sample back, or was fenced; then an
 * acknowledgement of that member either stands or cannot come any more.
 * A crash loses nothing: before the commit point the next turn is free for others; after it consumed/k is there until the
 * sample is gone, and any member that finds it frees the sample.
 * A fenced process that does not know it may still create a turn. It counts as the turn of a dead member.
 */
export class Claims {
  readonly #coordination: Coordination
  readonly #members: Members
  readonly #held = new Map<string, Held>()
  /** What could not be given back, because the store failed. */
  readonly #unsettled = new Map<string, Held>()
  /** Acknowledged, and not known to be freed: a borrower may still keep them. By the turn, whose note is this member's own. */
  readonly #acknowledged = new Map<string, number>()
  /** The turn after all that this member had: its own note in an earlier turn must not be taken for a claim. */
  readonly #next = new Map<string, number>()
  /** What this process does to the claims on one sample, one after the other. */
  readonly #queue = new SerialQueue<string>()
  #timer: NodeJS.Timeout | undefined

  constructor(coordination: Coordination, members: Members) {
    this.#coordination = coordination
    this.#members = members
  }

  /** Samples that this process has claimed. */
  get size(): number {
    return this.#held.size + this.#unsettled.size
  }

  /** @throws STORE_BUSY while another living member has it. */
  take(key: BlobKey): Promise<ClaimOutcome> {
    const name = keyText(key)
    return this.#queue.run(name, async () => {
      await this.#settleOne(name)
      if (this.#acknowledged.has(name)) return 'gone'
      if (this.#held.has(name)) throw claimed(key, 'this process')
      return this.#takeNext(key)
    })
  }

  /** False when the claim was lost: another member may have it. */
  acknowledge(key: BlobKey): Promise<boolean> {
    const name = keyText(key)
    return this.#queue.run(name, async () => {
      const held = this.#held.get(name)
      if (held !== undefined) held.isAcknowledging = true
      const publish = () => this.#coordination.publishOver(consumedNote(key), this.#coordination.memberId)
      const done = await unlessFenced(() => this.#coordination.inReserve(publish))
      this.#held.delete(name)
      if (done !== null) this.#acknowledged.set(name, held?.turn ?? 0)
      return done !== null
    })
  }

  /** False when the claim was lost: another member may have it. After an error it is given back later. */
  giveBack(key: BlobKey): Promise<boolean> {
    const name = keyText(key)
    return this.#queue.run(name, async () => {
      const held = this.#held.get(name)
      if (held === undefined) return false
      this.#held.delete(name)
      return held.isEnded || this.#settle(held)
    })
  }

  /**
   * Removes all turns of a sample that is not stored any more, the last one first. `last`: the last turn, where the caller
   * has listed the claims.
   */
  end(key: BlobKey, last?: number): Promise<void> {
    const name = keyText(key)
    return this.#queue.run(name, async () => {
      const held = this.#held.get(name)
      const known = last ?? held?.turn ?? this.#acknowledged.get(name)
      for (let turn = known ?? (await this.#lastTurn(key)); turn >= 0; turn -= 1) {
        await this.#coordination.notes.remove(claimNote(key, turn))
      }
      if (held !== undefined) held.isEnded = true
      for (const all of [this.#acknowledged, this.#next, this.#unsettled]) all.delete(name)
    })
  }

  /** The member that has claimed the sample, alive or not. */
  async holder(key: BlobKey): Promise<string | null> {
    let holder: string | null = null
    for (let turn = 0; ; turn += 1) {
      const text = await this.#coordination.notes.read(claimNote(key, turn))
      if (text === null) return holder
      holder = text === NOBODY ? null : text
    }
  }

  /** Gives back all claims of this process. @throws what failed, after all were tried. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    const failed: unknown[] = []
    const fail = (error: unknown) => void failed.push(error)
    for (const { key } of [...this.#held.values()]) await this.giveBack(key).catch(fail)
    await this.#settleAll().catch(fail)
    clearTimeout(this.#timer)
    if (this.#unsettled.size > 0 && failed.length > 0) throw failed[0]
  }

  async #takeNext(key: BlobKey): Promise<ClaimOutcome> {
    const name = keyText(key)
    const turn = this.#next.get(name) ?? 0
    const held = { key, turn, isDoubtful: false, isAcknowledging: false, isEnded: false }
    try {
      const outcome = await this.#take(held)
      if (outcome === 'ours') this.#held.set(name, held)
      return outcome
    } catch (error) {
      if (hasCode(error, 'STORE_BUSY')) throw error
      // The claim may stand, and then it would for as long as this process lives.
      await this.#settle({ ...held, isDoubtful: true }).catch(() => undefined)
      throw error
    }
  }

  async #take(held: Held): Promise<ClaimOutcome> {
    for (let round = 0; round < ROUNDS; ) {
      const next = await this.#try(held)
      if (typeof next === 'string') return next
      if (next === held.turn) {
        if (round > 0) await pause(PAUSE_MS)
        round += 1
      }
      held.turn = next
    }
    throw claimed(held.key, 'several processes in turn')
  }

  /** The turn to try next, which is the same one if its note went meanwhile. */
  async #try(held: Held): Promise<ClaimOutcome | number> {
    const note = claimNote(held.key, held.turn)
    // In the reserve: on a full disk a claim comes before whatever frees room.
    if (await this.#coordination.inReserve(() => this.#coordination.sign(note))) return this.#isOurs(held)
    const holder = await this.#coordination.notes.read(note)
    return holder === null ? held.turn : this.#turnAfter(held, holder)
  }

  /** In a later turn the one before may have acknowledged, and not have learned of it. */
  async #isOurs({ key, turn }: Held): Promise<ClaimOutcome> {
    return turn > 0 && (await this.#coordination.notes.has(consumedNote(key))) ? 'gone' : 'ours'
  }

  async #turnAfter({ key, turn }: Held, holder: string): Promise<ClaimOutcome | number> {
    const { notes, memberId } = this.#coordination
    if (holder === NOBODY) return turn + 1
    if (await notes.has(consumedNote(key))) return 'gone'
    // The creation succeeded, and the file system lost its answer.
    if (holder === memberId) return 'ours'
    // A note that names no member is planted, or was cut by a power failure.
    const verdict = MEMBER.test(holder) ? await this.#members.look(holder) : DEAD
    if (verdict.state !== 'dead') {
      const last = await this.#listed(key)
      if (last === turn) throw claimed(key, await this.#members.describe(holder, verdict))
      return Math.max(turn, last ?? turn)
    }
    if (MEMBER.test(holder)) await this.#members.fence(holder)
    // Its acknowledgement, if there is one, is to be seen from here on.
    return (await notes.has(consumedNote(key))) ? 'gone' : turn + 1
  }

  /**
   * The last turn, as the folder of claims lists it. GlusterFS may answer out of a cache for a second that a note is there
   * which was removed, but it lists a folder anew.
   */
  async #listed(key: BlobKey): Promise<number | null> {
    return (await lastTurns(this.#coordination.notes)).get(keySegment(key)) ?? null
  }

  async #lastTurn(key: BlobKey): Promise<number> {
    for (let turn = 0; ; turn += 1) {
      if (!(await this.#coordination.notes.has(claimNote(key, turn + 1)))) return turn
    }
  }

  #settleLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.#settleAll().catch(() => undefined)
    }, SETTLE_MS).unref()
  }

  /** Tries again what could not be given back. @throws what failed first, after all were tried. */
  async #settleAll(): Promise<void> {
    const ended = [...this.#unsettled.keys()].map((name) => this.#queue.run(name, () => this.#settleOne(name)))
    const failed = (await Promise.allSettled(ended)).find((one) => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  async #settleOne(name: string): Promise<void> {
    const held = this.#unsettled.get(name)
    if (held !== undefined) await this.#settle(held)
  }

  /** Gives a claim back, now or later. False when it was lost, or an acknowledgement counts. */
  async #settle(held: Held): Promise<boolean> {
    const name = keyText(held.key)
    try {
      const isGivenBack = await this.#settleNow(name, held)
      this.#unsettled.delete(name)
      return isGivenBack
    } catch (error) {
      this.#unsettled.set(name, held)
      this.#settleLater()
      throw error
    }
  }

  async #settleNow(name: string, held: Held): Promise<boolean> {
    const { key, turn } = held
    if (held.isAcknowledging && (await this.#coordination.notes.has(consumedNote(key)))) {
      this.#acknowledged.set(name, turn)
      return false
    }
    if (held.isDoubtful && !(await this.#isOwn(key, turn))) return false
    const next = claimNote(key, turn + 1)
    const made = await unlessFenced(() => this.#coordination.inReserve(() => this.#signAway(next)))
    this.#next.set(name, turn + (made === true ? 2 : 1))
    return made ?? false
  }

  /** Also true where the note was made by a call whose answer was lost. */
  async #signAway(note: string): Promise<boolean> {
    const { notes } = this.#coordination
    return (await this.#coordination.signAway(note)) || (await notes.read(note)) === NOBODY
  }

  /** Whether the turn is ours: asked with a creation, which the server decides. */
  async #isOwn(key: BlobKey, turn: number): Promise<boolean> {
    const note = claimNote(key, turn)
    const { memberId, notes } = this.#coordination
    return (await this.#coordination.sign(note)) || (await notes.read(note)) === memberId
  }
}
