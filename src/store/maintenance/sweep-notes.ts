import { Generation, SampleId } from '../../core/ids.ts'
import type { BlobKey } from '../blob-key.ts'

import type { StoreParts } from '../store-parts.ts'
import type { SweepKind } from './sweep-kinds.ts'

type Note = (kind: SweepKind, bytes: number) => void

/** Notes that dead processes left: who they were, what they had leased and claimed, and what they did not finish. */
export class NoteSweep {
  readonly #parts: StoreParts
  readonly #dryRun: boolean
  readonly #note: Note
  readonly #judged = new Map<string, boolean>()
  /** Members that have a note and are dead. */
  readonly dead: ReadonlySet<string>

  static async begin(parts: StoreParts, dryRun: boolean, note: Note): Promise<NoteSweep> {
    const dead: string[] = []
    for (const id of await parts.members.all()) {
      if (id !== parts.members.id && (await parts.members.dead(id))) dead.push(id)
    }
    return new NoteSweep(parts, dryRun, note, dead)
  }

  private constructor(parts: StoreParts, dryRun: boolean, note: Note, dead: readonly string[]) {
    this.#parts = parts
    this.#dryRun = dryRun
    this.#note = note
    this.dead = new Set(dead)
  }

  async run(): Promise<void> {
    await this.#claims()
    await this.#leases()
    await this.#consumed()
    for (const id of this.dead) {
      this.#note('members', 0)
      if (!this.#dryRun) await this.#parts.members.fence(id)
    }
  }

  async #claims(): Promise<void> {
    const { coordination, leases } = this.#parts
    await this.#perKey('claims', async (key, holder, folder) => {
      // The work was acknowledged, and its holder died before the sample was freed.
      if (holder === 'acked') {
        this.#note('claims', 0)
        if (!this.#dryRun) await leases.consume(key)
      } else if (await this.isDead(holder)) {
        this.#note('claims', 0)
        if (this.#dryRun) return
        await this.#parts.members.fence(holder)
        await coordination.notes.remove(`${folder}/${holder}`)
        await coordination.notes.removeFolder(folder)
      }
    })
  }

  async #leases(): Promise<void> {
    const { coordination, leases } = this.#parts
    await this.#perKey('leases', async (key, holder, folder) => {
      if (holder !== 'freed' && !(await this.isDead(holder))) return
      this.#note('leases', 0)
      if (this.#dryRun) return
      if (holder === 'freed') {
        await leases.retire(key)
        return
      }
      await this.#parts.members.fence(holder)
      await coordination.notes.remove(`${folder}/${holder}`)
      await coordination.notes.removeFolder(folder)
    })
  }

  // Consumed, and the last holder died with it: what a release would have freed.
  async #consumed(): Promise<void> {
    const { coordination, leases } = this.#parts
    for (const name of await coordination.notes.list('consumed')) {
      const key = keyIn(name)
      if (key === null || (await this.#heldByLiving(name))) continue
      this.#note('consumed', 0)
      if (!this.#dryRun) await leases.retire(key)
    }
  }

  async #heldByLiving(name: string): Promise<boolean> {
    for (const holder of await this.#parts.coordination.notes.list(`leases/${name}`)) {
      if (holder !== 'freed' && !(await this.isDead(holder))) return true
    }
    return false
  }

  async #perKey(
    part: 'claims' | 'leases',
    each: (key: BlobKey, holder: string, folder: string) => Promise<void>,
  ): Promise<void> {
    const { notes } = this.#parts.coordination
    for (const name of await notes.list(part)) {
      const key = keyIn(name)
      if (key === null) continue
      const folder = `${part}/${name}`
      const holders = await notes.list(folder)
      for (const holder of holders) await each(key, holder, folder)
      if (holders.length === 0 && !this.#dryRun) await notes.removeFolder(folder)
    }
  }

  // A death is for ever, a life is not; within one sweep both are believed.
  async isDead(id: string): Promise<boolean> {
    if (id === this.#parts.members.id) return false
    const known = this.#judged.get(id) ?? (await this.#parts.members.dead(id))
    this.#judged.set(id, known)
    return known
  }
}

function keyIn(name: string): BlobKey | null {
  const cut = name.lastIndexOf('.')
  const sampleId = SampleId.safeParse(name.slice(0, cut))
  const generation = Generation.safeParse(Number(name.slice(cut + 1)))
  return sampleId.success && generation.success ? { sampleId: sampleId.data, generation: generation.data } : null
}
