import { type BlobKey, keySegment, keyText } from '../blob-key.ts'
import { SerialQueue } from '../serial-queue.ts'
import { LeaseBook } from './lease-book.ts'
import type { Members } from './members.ts'
import type { Notes } from './notes.ts'

/** Stands in a lease folder that is empty otherwise: the sample is free, and nobody can lease it any more. */
const FREED = 'freed'
const ROUNDS = 20

/** What leases have to know of the samples themselves. */
interface StoredSamples {
  has(key: BlobKey): Promise<boolean>
}

/**
 * Leases of all processes. k stands for <sampleId>.<generation>, which never comes back once it is freed.
 *
 *   leases/k/<member>   this member has borrowers          consumed/k   one of them has done its work
 *   leases/k/freed      the last one has left: being freed
 *
 * take:    1 create leases/k/<me>   2 leases/k/freed there? Then it is too late: remove our note, finish, "not found".
 *          3 for who has begun to read already: the sample there? If not, remove our note, "not found".
 * release: 1 consume: move leases/k/<me> to consumed/k. Keep: remove it; when there is no consumed/k, that is all.
 *          2 create leases/k/freed alone in its folder, which fails while anybody's note is in it: THE COMMIT POINT.
 *          3 finish.
 * finish:  remove the sample, then consumed/k, then claims/k/acked, then leases/k/freed, then the folders.
 *
 * Why no lease is ever ignored: step 2 of a release and step 1 of a take meet in one folder. Whoever is first makes
 * the other fail, there is no moment between them. Why no sample stays: whoever removes the last note looks for
 * consumed/k after it, and consumed/k was put there by a move out of that folder, so before.
 * Why bytes may be served that were read before the lease was there: after 1 nobody can put `freed`, so when it is not
 * there at 2, either the sample is not freed as long as we hold it, or it was freed, `freed` and all, before 2: then it
 * is not there at 3. And the bytes of k never change.
 * Why a crash breaks nothing: every step of finish may be done again, by anybody who meets `freed`, and nothing else
 * happens to k any more. Notes of dead members are removed by whoever is about to free, and by a sweep.
 * Why a fenced process that wakes up breaks nothing: without its note its move fails, and it frees nothing.
 */
export class SharedLeases {
  readonly #notes: Notes
  readonly #members: Members
  readonly #samples: StoredSamples
  readonly #free: (key: BlobKey) => Promise<number>
  readonly #book = new LeaseBook()
  readonly #turns = new SerialQueue<string>()

  constructor(notes: Notes, members: Members, samples: StoredSamples, free: (key: BlobKey) => Promise<number>) {
    this.#notes = notes
    this.#members = members
    this.#samples = samples
    this.#free = free
  }

  /** Samples that this process has leased. */
  get size(): number {
    return this.#book.size
  }

  /** False when the sample has been freed. */
  take(key: BlobKey): Promise<boolean> {
    return this.#turns.run(keyText(key), async () => {
      if (!this.#book.take(key)) return true
      try {
        if (!(await this.#notes.enter(this.#mine(key), freedNote(key)))) return true
      } catch (error) {
        this.#book.drop(key, false)
        // The note may be there, and then it would keep the sample for as long as this process lives.
        await this.#abandon(key).catch(() => undefined)
        throw error
      }
      this.#book.drop(key, false)
      await this.#notes.remove(this.#mine(key))
      await this.#finish(key)
      return false
    })
  }

  /** The same for who has begun to read before: false also when it was freed and forgotten, or removed. */
  async takeStored(key: BlobKey): Promise<boolean> {
    if (!(await this.take(key))) return false
    let stored = false
    try {
      stored = await this.#samples.has(key)
    } finally {
      if (!stored) await this.drop(key, false)
    }
    return stored
  }

  /** Gives one borrow back. The last one of a consumed sample, in all processes, frees it. */
  drop(key: BlobKey, consumed: boolean): Promise<void> {
    return this.#turns.run(keyText(key), async () => {
      const dropped = this.#book.drop(key, consumed)
      if (dropped === 'released') await this.#abandon(key)
      if (dropped !== 'consumed') return
      if (await this.#notes.move(this.#mine(key), consumedNote(key))) await this.retire(key)
      else if (await this.#members.wasFenced()) throw this.#members.fencedError()
    })
  }

  /** Gives one borrow back whose work was acknowledged: that holds even for who was taken for dead right after. */
  dropAcknowledged(key: BlobKey): Promise<void> {
    return this.#turns.run(keyText(key), async () => {
      if (this.#book.drop(key, true) === 'held') return
      if (await this.#notes.move(this.#mine(key), consumedNote(key))) await this.retire(key)
      else await this.consume(key)
    })
  }

  /**
   * Marks a sample as consumed, whether or not this process holds it, and frees it unless another living process does.
   * The bytes that became free; null when one does.
   */
  async consume(key: BlobKey): Promise<number | null> {
    await this.#notes.create(consumedNote(key), '')
    return this.retire(key)
  }

  /** Frees a sample that nobody living holds. The bytes that became free; null when somebody living holds it. */
  async retire(key: BlobKey): Promise<number | null> {
    for (let round = 0; round < ROUNDS; round += 1) {
      if (await this.#notes.createAlone(freedNote(key), '')) return this.#finish(key)
      const holders = await this.#notes.list(folderOf(key))
      if (holders.includes(FREED)) return this.#finish(key)
      if (holders.length > 0 && !(await this.#dropDead(key, holders))) return null
    }
    return null
  }

  /** All leases of this process, given back unused. */
  async close(): Promise<void> {
    for (const key of this.#book.clear()) await this.#turns.run(keyText(key), () => this.#abandon(key))
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
