import { hasCode } from '../../core/errors.ts'
import { type BlobKey, keyOfSegment } from '../blob-key.ts'
import { lastTurns, NOBODY, turnNote } from '../coordination/claim-notes.ts'
import type { StoreParts } from '../store-parts.ts'
import type { SweepKind } from './sweep-kinds.ts'

export interface NoteSweepOptions {
  readonly dryRun: boolean
  /** Counts something that is removed. */
  readonly countRemoved: (kind: SweepKind, bytes: number) => void
  /** Frees a sample, or in a dry run only computes it. The bytes that become free; null when a living process holds it. */
  readonly retire: (key: BlobKey) => Promise<number | null>
}

/** Removes the notes that dead processes left: their members, leases and claims, and samples that they did not finish freeing. */
export class NoteSweep {
  readonly #parts: StoreParts
  readonly #options: NoteSweepOptions
  readonly #isDeadById = new Map<string, boolean>()
  /** Members that have a note and are dead. */
  readonly dead: ReadonlySet<string>

  static async begin(parts: StoreParts, options: NoteSweepOptions): Promise<NoteSweep> {
    const dead: string[] = []
    for (const id of await parts.members.all()) {
      if (id !== parts.members.id && (await parts.members.dead(id))) dead.push(id)
    }
    return new NoteSweep(parts, options, dead)
  }

  private constructor(parts: StoreParts, options: NoteSweepOptions, dead: readonly string[]) {
    this.#parts = parts
    this.#options = options
    this.dead = new Set(dead)
  }

  async run(): Promise<void> {
    await this.#claims()
    await this.#leases()
    await this.#consumed()
    for (const id of this.dead) {
      this.#options.countRemoved('members', 0)
      if (!this.#options.dryRun) await this.#parts.members.fence(id)
    }
  }

  async #claims(): Promise<void> {
    const { notes } = this.#parts.coordination
    for (const [segment, last] of await lastTurns(notes)) {
      const key = keyOfSegment(segment)
      const holder = await notes.read(turnNote(segment, last))
      if (key === null || holder === null || holder === NOBODY || !(await this.isDead(holder))) continue
      this.#options.countRemoved('claims', 0)
      if (!this.#options.dryRun) await this.#endClaim(key)
    }
  }

  // Where the sample is consumed its claim goes with it: see `#consumed`.
  async #endClaim(key: BlobKey): Promise<void> {
    const { claims } = this.#parts
    const outcome = await claims.take(key).catch((error: unknown) => {
      if (hasCode(error, 'STORE_BUSY')) return 'busy'
      throw error
    })
    if (outcome === 'ours') await claims.giveBack(key)
  }

  async #leases(): Promise<void> {
    const { countRemoved, retire } = this.#options
    const { notes } = this.#parts.coordination
    for (const name of await notes.list('leases')) {
      const key = keyOfSegment(name)
      if (key === null) continue
      // The process that was freeing the sample died before it had finished.
      if (await notes.isNote(`leases/${name}`)) countRemoved('leases', (await retire(key)) ?? 0)
      else await this.#endLeases(`leases/${name}`)
    }
  }

  async #endLeases(folder: string): Promise<void> {
    const { dryRun, countRemoved } = this.#options
    const { notes } = this.#parts.coordination
    const holders = await notes.list(folder)
    if (holders.length === 0 && !dryRun) await notes.removeFolder(folder)
    for (const holder of holders) {
      if (!(await this.isDead(holder))) continue
      countRemoved('leases', 0)
      if (!dryRun) await this.#removeHolder(folder, holder)
    }
  }

  // Consumed samples whose last holder died before it could free them.
  async #consumed(): Promise<void> {
    for (const name of await this.#parts.coordination.notes.list('consumed')) {
      const key = keyOfSegment(name)
      if (key === null || (await this.#heldByLiving(name))) continue
      this.#options.countRemoved('consumed', (await this.#options.retire(key)) ?? 0)
    }
  }

  async #removeHolder(folder: string, holder: string): Promise<void> {
    const { notes } = this.#parts.coordination
    await this.#parts.members.fence(holder)
    await notes.remove(`${folder}/${holder}`)
    await notes.removeFolder(folder)
  }

  async #heldByLiving(name: string): Promise<boolean> {
    for (const holder of await this.#parts.coordination.notes.list(`leases/${name}`)) {
      if (!(await this.isDead(holder))) return true
    }
    return false
  }

  // Asked once for each member: within one sweep the answer is kept.
  async isDead(id: string): Promise<boolean> {
    if (id === this.#parts.members.id) return false
    const known = this.#isDeadById.get(id) ?? (await this.#parts.members.dead(id))
    this.#isDeadById.set(id, known)
    return known
  }
}
