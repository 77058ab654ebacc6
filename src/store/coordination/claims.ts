import { type CodedError, finding, hasCode } from '../../core/errors.ts'
import { type BlobKey, keySegment, keyText } from '../blob-key.ts'

import type { Members } from './members.ts'
import type { Notes } from './notes.ts'

const ACKED = 'acked'
const ROUNDS = 20

/** `gone`: some member has acknowledged the work on the sample. */
export type ClaimOutcome = 'ours' | 'gone'

/**
 * Claims: the right of one member, among all processes, to do the work on a sample. k stands for <sampleId>.<generation>.
 * The folder claims/k holds at most one note: the holder's, named by the member, or `acked`.
 *
 * claim:       create claims/k/<me>, alone in its folder. If that fails, list the folder. `acked`: too late. A living
 *              member: busy. A dead member: fence it, then move its note to claims/k/<me>; of several that try, one succeeds.
 * acknowledge: move claims/k/<me> to claims/k/acked: THE COMMIT POINT. If the note is gone, this member was taken for dead
 *              and another does the work. Then the sample is consumed and freed (see SharedLeases), `acked` last.
 * give back:   remove claims/k/<me>, then the folder.
 *
 * A holder also has a lease, so nothing frees the sample meanwhile.
 * Whoever gets a claim must see afterwards that the sample is stored (`Blobs.has`): `acked` is removed after the sample.
 * A file system may answer a look out of its cache, so no look decides: only an exclusive creation, a rename, a removal or
 * a link does.
 * Nothing is acknowledged twice: there is one note, and both the takeover and the acknowledgement move it away.
 * A crash loses nothing: before the commit point the note of the dead member is there and is taken over; after it `acked`
 * is there until the sample is gone, and any member that finds it frees the sample.
 * A fenced process that wakes up does no harm: its move finds no note, and its acknowledgement fails.
 */
export class Claims {
  readonly #notes: Notes
  readonly #members: Members
  readonly #held = new Map<string, BlobKey>()

  constructor(notes: Notes, members: Members) {
    this.#notes = notes
    this.#members = members
  }

  /** @throws STORE_BUSY while another living member has it. */
  async take(key: BlobKey): Promise<ClaimOutcome> {
    if (this.#held.has(keyText(key))) throw claimed(key, 'this process')
    this.#held.set(keyText(key), key)
    try {
      for (let round = 0; round < ROUNDS; round += 1) {
        if (await this.#notes.createAlone(this.#mine(key), '')) return 'ours'
        const taken = await this.#takeOver(key)
        if (taken === 'gone') this.#held.delete(keyText(key))
        if (taken !== 'again') return taken
      }
      throw claimed(key, 'several processes in turn')
    } catch (error) {
      // After an error of the store the claim may stand, and then it would for as long as this process lives.
      if (!hasCode(error, 'STORE_BUSY')) await this.giveBack(key).catch(() => undefined)
      this.#held.delete(keyText(key))
      throw error
    }
  }

  /** False when the claim was lost: another member may have it. */
  async acknowledge(key: BlobKey): Promise<boolean> {
    const moved = await this.#notes.move(this.#mine(key), `${folderOf(key)}/${ACKED}`)
    this.#held.delete(keyText(key))
    return moved
  }

  /** False when the claim was lost: another member may have it. */
  async giveBack(key: BlobKey): Promise<boolean> {
    const ours = await this.#notes.remove(this.#mine(key))
    this.#held.delete(keyText(key))
    if (ours) await this.#notes.removeFolder(folderOf(key))
    return ours
  }

  /** Gives back all claims of this process. */
  async close(): Promise<void> {
    for (const key of [...this.#held.values()]) await this.giveBack(key)
  }

  async #takeOver(key: BlobKey): Promise<ClaimOutcome | 'again'> {
    for (const holder of await this.#notes.list(folderOf(key))) {
      if (holder === ACKED) return 'gone'
      // Our own: the move succeeded and NFS lost its answer.
      if (holder === this.#members.id) return 'ours'
      const verdict = await this.#members.look(holder)
      if (verdict.state !== 'dead') throw claimed(key, await this.#members.describe(holder, verdict))
      await this.#members.fence(holder)
      if (!(await this.#notes.move(`${folderOf(key)}/${holder}`, this.#mine(key)))) continue
      await this.#notes.remove(`leases/${keySegment(key)}/${holder}`)
      return 'ours'
    }
    return 'again'
  }

  #mine(key: BlobKey): string {
    return `${folderOf(key)}/${this.#members.id}`
  }
}

const folderOf = (key: BlobKey): string => `claims/${keySegment(key)}`

function claimed(key: BlobKey, by: string): CodedError {
  return finding('STORE_BUSY', 'this sample is claimed already', {
    field: keyText(key),
    found: `held by ${by}`,
    fix: 'use another sample; this one can be claimed again after its holder gives it back or ends',
  })
}
