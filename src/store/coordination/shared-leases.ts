import { type BlobKey, keySegment, keyText } from '../blob-key.ts'
import { SerialQueue } from '../serial-queue.ts'
import { BorrowerCounts } from './borrower-counts.ts'
import { consumedNote } from './claim-notes.ts'
import type { Coordination } from './coordination.ts'
import type { Members } from './members.ts'
import type { Notes } from './notes.ts'

const ROUNDS = 20

export interface LeaseOptions {
  /** No release of this client frees anything, so it takes no notes: its copies are its own, whatever others free. */
  readonly retain: boolean
  /** Whether a sample is stored. */
  readonly has: (key: BlobKey) => Promise<boolean>
  /** Removes a sample. The bytes that became free. */
  readonly free: (key: BlobKey) => Promise<number>
  /** Removes all claims on a sample that is not stored any more. */
  readonly endClaims: (key: BlobKey) => Promise<void>
}

/**
 * Leases of all processes. k stands for <sampleId>.<generation>, which never comes back once it is freed.
 *
 *   leases/k/<member>   this member has borrowers          consumed/k   a borrower has done its work
 *   leases/k            as a note, not a folder: the last borrower has left, and the sample is being freed
 *
 * take:    1 create leases/k/<me>, and the folder. If leases/k is a note, it is too late: finish, "not found".
 *          2 if the sample is not there, remove our note, "not found".
 * release: 1 consume: move leases/k/<me> to consumed/k. Keep: remove it; if there is no consumed/k, that is all.
 *          2 remove the folder leases/k, which fails while any member's note is in it, and create the note leases/k, which
 *          fails while the folder is there: THE COMMIT POINT.
 *          3 finish.
 * finish:  remove the sample, then consumed/k, then the claims on k, then leases/k.
 *
 * No lease is ignored: leases/k is a folder or a note and never both, so either there is no lease or it is not freed.
 * No sample stays for ever: the member that removes the last note looks for consumed/k afterwards, and consumed/k was there
 * before that note was removed.
 * Bytes that were read before the lease was there may be served: after step 1 nobody can create the note. Either the sample
 * is kept as long as we hold it, or it was freed before, and then the sample is not there at step 2. The bytes of k never
 * change.
 * A crash does no harm: any member that finds the note leases/k can repeat every step of finish, and nothing else happens to
 * k any more. Notes of dead members are removed by a member that is about to free the sample, and by a sweep.
 * A fenced process that wakes up does no harm: without its note its move fails, and it frees nothing.
 */
export class SharedLeases {
  readonly #notes: Notes
  readonly #members: Members
  readonly #options: LeaseOptions
  readonly #coordination: Pick<Coordination, 'notes' | 'inReserve' | 'sign'>
  readonly #counts = new BorrowerCounts()
  readonly #turns = new SerialQueue<string>()

  constructor(
    coordination: Pick<Coordination, 'notes' | 'inReserve' | 'sign'>,
    members: Members,
    options: LeaseOptions,
  ) {
    this.#coordination = coordination
    this.#notes = coordination.notes
    this.#members = members
    this.#options = options
  }

  /** Samples that this process has leased. */
  get size(): number {
    return this.#counts.size
  }

  /** For a caller that is reading already. False when the sample was freed or removed. */
  async take(key: BlobKey): Promise<boolean> {
    if (!(await this.#enter(key))) return false
    let stored = false
    await using _ = { [Symbol.asyncDispose]: async () => (stored ? undefined : this.drop(key, false)) }
    stored = await this.#options.has(key)
    return stored
  }

  /** Ends one borrow. The last one of a consumed sample, in all processes, frees it. */
  drop(key: BlobKey, consumed: boolean): Promise<void> {
    return this.#turns.run(keyText(key), async () => {
      const dropped = this.#counts.drop(key, consumed)
      if (this.#options.retain) return
      if (dropped === 'released') await this.#abandon(key)
      if (dropped !== 'consumed') return
      if (await this.#consumeOwn(key)) await this.retire(key)
      else if (await this.#members.wasFenced()) throw this.#members.fencedError()
    })
  }

  /** Frees a sample on which nobody living has a lease. The bytes that became free; null when somebody living has one. */
  async retire(key: BlobKey): Promise<number | null> {
    if (this.#options.retain && this.#counts.has(key)) return null
    return this.#coordination.inReserve(() => this.#retire(key))
  }

  /** Whether somebody living has a lease on the sample. */
  async held(key: BlobKey): Promise<boolean> {
    if (this.#counts.has(key)) return true
    for (const holder of await this.#notes.list(leaseFolder(key))) {
      if (!(await this.#members.dead(holder))) return true
    }
    return false
  }

  /** Gives back all leases of this process, unused. */
  async close(): Promise<void> {
    const left = this.#counts.clear()
    if (this.#options.retain) return
    for (const key of left) await this.#turns.run(keyText(key), () => this.#abandon(key))
  }

  // False when the sample is being freed.
  #enter(key: BlobKey): Promise<boolean> {
    return this.#turns.run(keyText(key), async () => {
      if (!this.#counts.take(key) || this.#options.retain) return true
      try {
        if (await this.#notes.enter(this.#mine(key))) return true
      } catch (error) {
        this.#counts.drop(key, false)
        // The note may have been created, and then it would keep the sample for as long as this process lives.
        await this.#abandon(key).catch(() => undefined)
        throw error
      }
      this.#counts.drop(key, false)
      await this.#finish(key)
      return false
    })
  }

  async #retire(key: BlobKey): Promise<number | null> {
    const folder = leaseFolder(key)
    for (let round = 0; round < ROUNDS; round += 1) {
      if (await this.#coordination.sign(folder)) return this.#finish(key)
      if (await this.#notes.isNote(folder)) return this.#finish(key)
      const holders = await this.#notes.list(folder)
      if (holders.length > 0 && !(await this.#dropDead(key, holders))) return null
      await this.#notes.removeFolder(folder)
    }
    return null
  }

  /** False when this member has no lease any more. */
  #consumeOwn(key: BlobKey): Promise<boolean> {
    return this.#coordination.inReserve(() => this.#notes.move(this.#mine(key), consumedNote(key)))
  }

  async #abandon(key: BlobKey): Promise<void> {
    if (await this.#notes.leave(this.#mine(key), consumedNote(key))) await this.retire(key)
  }

  async #finish(key: BlobKey): Promise<number> {
    const bytes = await this.#options.free(key)
    await this.#notes.remove(consumedNote(key))
    await this.#options.endClaims(key)
    await this.#notes.remove(leaseFolder(key))
    return bytes
  }

  async #dropDead(key: BlobKey, holders: readonly string[]): Promise<boolean> {
    let dropped = false
    for (const holder of holders) {
      if (holder === this.#members.id || !(await this.#members.dead(holder))) continue
      await this.#members.fence(holder)
      await this.#notes.remove(`${leaseFolder(key)}/${holder}`)
      dropped = true
    }
    return dropped
  }

  #mine(key: BlobKey): string {
    return `${leaseFolder(key)}/${this.#members.id}`
  }
}

const leaseFolder = (key: BlobKey): string => `leases/${keySegment(key)}`
