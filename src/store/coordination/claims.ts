import { setTimeout as pause } from 'node:timers/promises'
import { type CodedError, finding, hasCode, isErrno } from '../../core/errors.ts'
import { type BlobKey, keySegment, keyText } from '../blob-key.ts'
import { claimNote, consumedNote, lastTurns, NOBODY } from './claim-notes.ts'
import type { Coordination } from './coordination.ts'
import type { Members } from './members.ts'

const ROUNDS = 20
const PAUSE_MS = 100
const MEMBER = /^m[0-9a-f]{16}$/
const DEAD = { state: 'dead' } as const

/** `gone`: the sample is consumed, and is being freed. */
export type ClaimOutcome = 'ours' | 'gone'

/** A claim of this process, or an attempt at one. */
interface Held {
  readonly key: BlobKey
  turn: number
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
 * give back:   create the next turn's note, which names nobody. If a member has taken that turn, the claim was lost.
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
  /** Acknowledged, and not known to be freed: a borrower may still keep them. By the turn, whose note is this member's own. */
  readonly #acknowledged = new Map<string, number>()
  /** The turn after one that this member had: its own note in an earlier turn must not be taken for a claim. */
  readonly #next = new Map<string, number>()

  constructor(coordination: Coordination, members: Members) {
    this.#coordination = coordination
    this.#members = members
  }

  /** Samples that this process has claimed. */
  get size(): number {
    return this.#held.size
  }

  /** @throws STORE_BUSY while another living member has it. */
  async take(key: BlobKey): Promise<ClaimOutcome> {
    const name = keyText(key)
    if (this.#acknowledged.has(name)) return 'gone'
    if (this.#held.has(name)) throw claimed(key, 'this process')
    const held = { key, turn: this.#next.get(name) ?? 0, isEnded: false }
    this.#held.set(name, held)
    try {
      const outcome = await this.#take(held)
      if (outcome === 'gone') this.#held.delete(name)
      return outcome
    } catch (error) {
      // After an error of the store the claim may stand, and then it would for as long as this process lives.
      if (!hasCode(error, 'STORE_BUSY')) await this.#giveBackDoubtful(held).catch(() => undefined)
      this.#held.delete(name)
      throw error
    }
  }

  /** False when the claim was lost: another member may have it. */
  async acknowledge(key: BlobKey): Promise<boolean> {
    const { memberId } = this.#coordination
    const turn = this.#held.get(keyText(key))?.turn ?? 0
    const publish = () => this.#coordination.publishOver(consumedNote(key), memberId)
    const done = await unlessFenced(() => this.#coordination.inReserve(publish))
    this.#held.delete(keyText(key))
    if (done !== null) this.#acknowledged.set(keyText(key), turn)
    return done !== null
  }

  /** False when the claim was lost: another member may have it. */
  async giveBack(key: BlobKey): Promise<boolean> {
    const held = this.#held.get(keyText(key))
    if (held === undefined) return false
    if (!this.#held.delete(keyText(key)) || held.isEnded) return true
    const next = claimNote(key, held.turn + 1)
    this.#next.set(keyText(key), held.turn + 1)
    const made = await unlessFenced(() => this.#coordination.inReserve(() => this.#coordination.signAway(next)))
    if (made === true) this.#next.set(keyText(key), held.turn + 2)
    return made ?? false
  }

  /**
   * Removes all turns of a sample that is not stored any more, the last one first. `last`: the last turn, where the caller
   * has listed the claims.
   */
  async end(key: BlobKey, last?: number): Promise<void> {
    const name = keyText(key)
    const held = this.#held.get(name)
    const known = last ?? held?.turn ?? this.#acknowledged.get(name)
    for (let turn = known ?? (await this.#lastTurn(key)); turn >= 0; turn -= 1) {
      await this.#coordination.notes.remove(claimNote(key, turn))
    }
    if (held !== undefined) held.isEnded = true
    this.#acknowledged.delete(name)
    this.#next.delete(name)
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

  /** Gives back all claims of this process. */
  async close(): Promise<void> {
    for (const { key } of [...this.#held.values()]) await this.giveBack(key)
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
    if (await this.#coordination.inReserve(() => this.#coordination.sign(note))) return 'ours'
    const holder = await this.#coordination.notes.read(note)
    return holder === null ? held.turn : this.#turnAfter(held, holder)
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
      return last ?? turn
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

  /** After an error: only what this member is seen to have is given back. */
  async #giveBackDoubtful({ key, turn }: Held): Promise<void> {
    const { notes, memberId } = this.#coordination
    if ((await notes.read(claimNote(key, turn))) === memberId) await this.giveBack(key)
  }
}

/** Null when this member was fenced: then it may publish nothing. */
async function unlessFenced<T>(task: () => Promise<T>): Promise<T | null> {
  try {
    return await task()
  } catch (error) {
    if (isErrno(error, 'ENOENT') || hasCode(error, 'STORE_BUSY')) return null
    throw error
  }
}

function claimed(key: BlobKey, by: string): CodedError {
  return finding('STORE_BUSY', 'this sample is claimed already', {
    field: keyText(key),
    found: `held by ${by}`,
    fix: 'use another sample; this one can be claimed again after its holder gives it back or ends',
  })
}
