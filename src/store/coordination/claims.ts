import { setTimeout as pause } from 'node:timers/promises'
import { type CodedError, finding, hasCode, isErrno } from '../../core/errors.ts'
import { type BlobKey, keySegment, keyText } from '../blob-key.ts'
import type { Coordination } from './coordination.ts'
import type { Members } from './members.ts'
import { NoteLock } from './note-lock.ts'

const LOCK = 'takeover/lock'
const ROUNDS = 20
const PAUSE_MS = 100
const MEMBER = /^m[0-9a-f]{16}$/
const DEAD = { state: 'dead' } as const

/** `gone`: the sample is consumed, and is being freed. */
export type ClaimOutcome = 'ours' | 'gone'

/**
 * Claims: the right of one member, among all processes, to do the work on a sample. k stands for <sampleId>.<generation>.
 * The note claims/k says who has it.
 *
 * claim:       create claims/k. If it is there, read it. A living member: busy. A dead member: fence it, and under the lock
 *              of takeovers read claims/k again. If it still names the dead member and there is no consumed/k, replace it.
 * acknowledge: publish consumed/k: THE COMMIT POINT. It fails once this member was fenced. Then the sample is freed (see
 *              SharedLeases), and claims/k after it.
 * give back:   withdraw claims/k, which also fails once this member was fenced.
 *
 * Whoever gets a claim must see afterwards that the sample is stored (`Blobs.has`): claims/k is removed after the sample.
 * A file system may answer a look out of its cache, so no look decides: only an exclusive creation, a rename, a removal or
 * a link does.
 * Nothing is acknowledged twice: claims/k is there from the claim until the sample is gone, so nobody else can create it. It
 * is replaced only after its member was fenced, when an acknowledgement of that member either stands or cannot come any more.
 * No living member's claim is replaced: only a takeover replaces claims/k, and takeovers are made one at a time.
 * A crash loses nothing: before the commit point the claim of the dead member is taken over; after it consumed/k is there
 * until the sample is gone, and any member that finds it frees the sample.
 * A fenced process that does not know it may still create claims/k. It counts as the claim of a dead member.
 */
export class Claims {
  readonly #coordination: Coordination
  readonly #members: Members
  readonly #takeovers: NoteLock
  readonly #held = new Map<string, BlobKey>()
  /** Acknowledged, and not known to be freed: a borrower may still keep them. Their notes are this member's own. */
  readonly #acknowledged = new Set<string>()

  constructor(coordination: Coordination, members: Members) {
    this.#coordination = coordination
    this.#members = members
    this.#takeovers = new NoteLock(coordination.notes, LOCK, coordination.memberId, members)
  }

  /** Samples that this process has claimed. */
  get size(): number {
    return this.#held.size
  }

  /** @throws STORE_BUSY while another living member has it. */
  async take(key: BlobKey): Promise<ClaimOutcome> {
    if (this.#acknowledged.has(keyText(key))) return 'gone'
    if (this.#held.has(keyText(key))) throw claimed(key, 'this process')
    this.#held.set(keyText(key), key)
    try {
      const outcome = await this.#take(key)
      if (outcome === 'gone') this.#held.delete(keyText(key))
      return outcome
    } catch (error) {
      // After an error of the store the claim may stand, and then it would for as long as this process lives.
      if (!hasCode(error, 'STORE_BUSY')) await this.giveBack(key).catch(() => undefined)
      this.#held.delete(keyText(key))
      throw error
    }
  }

  /** False when the claim was lost: another member may have it. */
  async acknowledge(key: BlobKey): Promise<boolean> {
    const { memberId } = this.#coordination
    const publish = () => this.#coordination.publishOver(consumedNote(key), memberId)
    const done = await unlessFenced(() => this.#coordination.inReserve(publish))
    this.#held.delete(keyText(key))
    if (done !== null) this.#acknowledged.add(keyText(key))
    return done !== null
  }

  /** Call it when an acknowledged sample is freed: its key never comes back. */
  freed(key: BlobKey): void {
    this.#acknowledged.delete(keyText(key))
  }

  /** False when the claim was lost: another member may have it. */
  async giveBack(key: BlobKey): Promise<boolean> {
    const ours = await unlessFenced(() => this.#coordination.withdraw(claimNote(key)))
    this.#held.delete(keyText(key))
    return ours === true
  }

  /** The member that has claimed the sample, alive or not. */
  holder(key: BlobKey): Promise<string | null> {
    return this.#coordination.notes.read(claimNote(key))
  }

  /** Gives back all claims of this process. */
  async close(): Promise<void> {
    for (const key of [...this.#held.values()]) await this.giveBack(key)
  }

  async #take(key: BlobKey): Promise<ClaimOutcome> {
    for (let round = 0; round < ROUNDS; round += 1) {
      // In the reserve: on a full disk a claim comes before whatever frees room.
      if (await this.#coordination.inReserve(() => this.#coordination.sign(claimNote(key)))) return 'ours'
      const holder = await this.holder(key)
      const taken = holder === null ? 'again' : await this.#takeFrom(key, holder)
      if (taken !== 'again') return taken
    }
    throw claimed(key, 'several processes in turn')
  }

  async #takeFrom(key: BlobKey, holder: string): Promise<ClaimOutcome | 'again'> {
    const { notes, memberId } = this.#coordination
    if (await notes.has(consumedNote(key))) return 'gone'
    // The takeover succeeded, and the file system lost its answer.
    if (holder === memberId) return 'ours'
    // A note that names no member is planted, or was cut by a power failure.
    const verdict = MEMBER.test(holder) ? await this.#members.look(holder) : DEAD
    if (verdict.state !== 'dead') {
      if (await this.#isListed(key)) throw claimed(key, await this.#members.describe(holder, verdict))
      await pause(PAUSE_MS)
      return 'again'
    }
    return this.#takeovers.run(() => this.#takeOver(key, holder))
  }

  /** GlusterFS may answer out of a cache for a second that a note is there which was given back. Its folder is read anew. */
  async #isListed(key: BlobKey): Promise<boolean> {
    return (await this.#coordination.notes.list('claims')).includes(keySegment(key))
  }

  async #takeOver(key: BlobKey, dead: string): Promise<ClaimOutcome | 'again'> {
    const { notes, memberId } = this.#coordination
    if (MEMBER.test(dead)) await this.#members.fence(dead)
    // Its acknowledgement, if there is one, is to be seen from here on.
    if ((await this.holder(key)) !== dead) return 'again'
    if (await notes.has(consumedNote(key))) return 'gone'
    await this.#coordination.publishOver(claimNote(key), memberId)
    return 'ours'
  }
}

export const claimNote = (key: BlobKey): string => `claims/${keySegment(key)}`
export const consumedNote = (key: BlobKey): string => `consumed/${keySegment(key)}`

/** Null when this member was fenced: then it may publish and withdraw nothing. */
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
