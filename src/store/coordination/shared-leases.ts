import { type BlobKey, keySegment, keyText } from '../blob-key.ts'
import { SerialQueue } from '../serial-queue.ts'
import { BorrowerCounts } from './borrower-counts.ts'
import type { Coordination } from './coordination.ts'
import type { Members } from './members.ts'
import type { Notes } from './notes.ts'

/** The only note in a lease folder: the sample is being freed and cannot be leased any more. */
const FREED = 'freed'
const ROUNDS = 20

/** What leases need to know of the samples. */
interface StoredSamples {
  has(key: BlobKey): Promise<boolean>
}

/**
 * Leases of all processes. k stands for <sampleId>.<generation>, which never comes back once it is freed.
 *
 *   leases/k/<member>   this member has borrowers          consumed/k   a borrower has done its work
 *   leases/k/freed      the last borrower has left: the sample is being freed
 *
 * take:    1 create leases/k/<me>   2 if leases/k/freed is there, it is too late: remove our note, finish, "not found".
 *          3 for a caller that is reading already: if the sample is not there, remove our note, "not found".
 * release: 1 consume: move leases/k/<me> to consumed/k. Keep: remove it; if there is no consumed/k, that is all.
 *          2 create leases/k/freed alone in its folder, which fails while any member's note is in it: THE COMMIT POINT.
 *          3 finish.
 * finish:  remove the sample, then consumed/k, then claims/k/acked, then leases/k/freed, then the folders.
 *
 * No lease is ignored: step 2 of a release and step 1 of a take create a note in one folder, so the later one fails or
 * sees the earlier one. No sample stays for ever: the member that removes the last note looks for consumed/k afterwards,
 * and consumed/k was moved out of that folder, so it was there before.
 * Bytes that were read before the lease was there may be served: after step 1 nobody can create `freed`. If it is not
 * there at step 2, either the sample is kept as long as we hold it, or it was freed and `freed` removed before step 2, and
 * then the sample is not there at step 3. The bytes of k never change.
 * A crash does no harm: any member that finds `freed` can repeat every step of finish, and nothing else happens to k any
 * more. Notes of dead members are removed by a member that is about to free the sample, and by a sweep.
 * A fenced process that wakes up does no harm: without its note its move fails, and it frees nothing.
 */
export class SharedLeases {
  readonly #notes: Notes
  readonly #members: Members
  readonly #samples: StoredSamples
  readonly #free: (key: BlobKey) => Promise<number>
  readonly #inReserve: Coordination['inReserve']
  readonly #counts = new BorrowerCounts()
  readonly #turns = new SerialQueue<string>()

  constructor(
    coordination: Pick<Coordination, 'notes' | 'inReserve'>,
    members: Members,
    samples: StoredSamples,
    free: (key: BlobKey) => Promise<number>,
  ) {
    this.#notes = coordination.notes
    this.#inReserve = (task) => coordination.inReserve(task)
    this.#members = members
    this.#samples = samples
    this.#free = free
  }

  /** Samples that this process has leased. */
  get size(): number {
    return this.#counts.size
  }

  /** False when the sample has been freed. */
  take(key: BlobKey): Promise<boolean> {
    return this.#turns.run(keyText(key), async () => {
      if (!this.#counts.take(key)) return true
      try {
        if (!(await this.#notes.enter(this.#mine(key), freedNote(key)))) return true
      } catch (error) {
        this.#counts.drop(key, false)
        // The note may have been created, and then it would keep the sample for as long as this process lives.
        await this.#abandon(key).catch(() => undefined)
        throw error
      }
      this.#counts.drop(key, false)
      await this.#notes.remove(this.#mine(key))
      await this.#finish(key)
      return false
    })
  }

  /** `take` for a caller that is reading already: false also when the sample was freed or removed before. */
  async takeStored(key: BlobKey): Promise<boolean> {
    if (!(await this.take(key))) return false
    let stored = false
    await using _ = { [Symbol.asyncDispose]: async () => (stored ? undefined : this.drop(key, false)) }
    stored = await this.#samples.has(key)
    return stored
  }

  /** Ends one borrow. The last one of a consumed sample, in all processes, frees it. */
  drop(key: BlobKey, consumed: boolean): Promise<void> {
    return this.#turns.run(keyText(key), async () => {
      const dropped = this.#counts.drop(key, consumed)
      if (dropped === 'released') await this.#abandon(key)
      if (dropped !== 'consumed') return
      if (await this.#consumeOwn(key)) await this.retire(key)
      else if (await this.#members.wasFenced()) throw this.#members.fencedError()
    })
  }

  /** Ends one borrow whose work was acknowledged. The sample is consumed even if this member was fenced right after. */
  dropAcknowledged(key: BlobKey): Promise<void> {
    return this.#turns.run(keyText(key), async () => {
      if (this.#counts.drop(key, true) === 'held') return
      if (await this.#consumeOwn(key)) await this.retire(key)
      else await this.consume(key)
    })
  }

  /**
   * Marks a sample as consumed, whether or not this process holds it, and frees it unless another living process does.
   * The bytes that became free; null when one does.
   */
  async consume(key: BlobKey): Promise<number | null> {
    await this.#inReserve(() => this.#notes.create(consumedNote(key), ''))
    return this.retire(key)
  }

  /** Frees a sample that nobody living holds. The bytes that became free; null when somebody living holds it. */
  retire(key: BlobKey): Promise<number | null> {
    return this.#inReserve(() => this.#retire(key))
  }

  async #retire(key: BlobKey): Promise<number | null> {
    for (let round = 0; round < ROUNDS; round += 1) {
      if (await this.#notes.createAlone(freedNote(key), '')) return this.#finish(key)
      const holders = await this.#notes.list(folderOf(key))
      if (holders.includes(FREED)) return this.#finish(key)
      if (holders.length > 0 && !(await this.#dropDead(key, holders))) return null
    }
    return null
  }

  /** Gives back all leases of this process, unused. */
  async close(): Promise<void> {
    for (const key of this.#counts.clear()) await this.#turns.run(keyText(key), () => this.#abandon(key))
  }

  /** False when this member has no lease any more. */
  #consumeOwn(key: BlobKey): Promise<boolean> {
    return this.#inReserve(() => this.#notes.move(this.#mine(key), consumedNote(key)))
  }

  async #abandon(key: BlobKey): Promise<void> {
    if (await this.#notes.leave(this.#mine(key), consumedNote(key))) await this.retire(key)
  }

  async #finish(key: BlobKey): Promise<number> {
    const bytes = await this.#free(key)
    await this.#notes.remove(consumedNote(key))
    await this.#notes.remove(`claims/${keySegment(key)}/acked`)
    await this.#notes.removeFolder(`claims/${keySegment(key)}`)
    await this.#notes.remove(freedNote(key))
    await this.#notes.removeFolder(folderOf(key))
    return bytes
  }

  async #dropDead(key: BlobKey, holders: readonly string[]): Promise<boolean> {
    let dropped = false
    for (const holder of holders) {
      if (holder === this.#members.id || !(await this.#members.dead(holder))) continue
      await this.#members.fence(holder)
      await this.#notes.remove(`${folderOf(key)}/${holder}`)
      dropped = true
    }
    return dropped
  }

  #mine(key: BlobKey): string {
    return `${folderOf(key)}/${this.#members.id}`
  }
}

const folderOf = (key: BlobKey): string => `leases/${keySegment(key)}`
const freedNote = (key: BlobKey): string => `${folderOf(key)}/${FREED}`
const consumedNote = (key: BlobKey): string => `consumed/${keySegment(key)}`
