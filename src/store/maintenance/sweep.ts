import { inBatches } from '../../core/concurrency/in-batches.ts'
import type { WaitOptions } from '../../core/liveness/watch.ts'
import { type BlobKey, keyOfSegment, keySegment } from '../blob-key.ts'
import type { FoundFile, FoundObject, Inventory, StagedEntry } from '../blobs/inventory.ts'
import { lastTurns } from '../coordination/claim-notes.ts'
import type { StoreParts } from '../store-parts.ts'
import { type SweepKind, sweepKinds } from './sweep-kinds.ts'
import { NoteSweep } from './sweep-notes.ts'
import { WouldFree } from './would-free.ts'

/** `unknown`: the manifests do not say, so the object stays. */
export type Judgement = 'listed' | 'orphan' | 'unknown'

export interface SweepOptions {
  readonly dryRun: boolean
  /** Younger things stay: a process may just be publishing them. By the clock of the store. */
  readonly graceMs: number
  /** What the manifests say of an object. Null: no manifests were given, and orphans stay. */
  readonly judge: ((object: FoundObject) => Promise<Judgement>) | null
  readonly signal?: AbortSignal
  /** Watch members that cannot be seen from here before they are judged. Default: they count as living. */
  readonly wait?: WaitOptions
}

export interface SweepReport {
  readonly dryRun: boolean
  readonly found: Readonly<Record<SweepKind, { readonly count: number; readonly bytes: number }>>
  /** Kept only because a living process holds them. */
  readonly held: number
  /** Kept only because they are too young. */
  readonly young: number
  /** Objects of which no given manifest says anything. */
  readonly unknown: number
}

/** Objects that are handled at the same time: each takes a few calls on small files. */
const AT_ONCE = 32
const FENCED = /^fenced\./
const MEMBER = /^m[0-9a-f]{16}$/

/**
 * Removes older generations, orphans, and what dead processes left. Never what a living process holds, what a manifest
 * lists, or what is younger than the grace.
 */
export async function sweep(parts: StoreParts, inventory: Inventory, options: SweepOptions): Promise<SweepReport> {
  const { members, coordination, space } = parts
  await members.join()
  await space.open()
  if (options.wait !== undefined) await members.settle(options.wait)
  const now = await coordination.inReserve(() => inventory.now(members.id))
  const swept = new Sweep(parts, inventory, options, now)
  const { dryRun } = options
  const notes = await NoteSweep.begin(parts, {
    dryRun,
    countRemoved: swept.countRemoved,
    retire: (key) => swept.retire(key),
  })
  await swept.staging(notes)
  await notes.run()
  await swept.objects()
  await swept.attachments()
  if (!dryRun) await swept.claims()
  if (!dryRun) await coordination.inReserve(() => space.recount())
  return swept.report()
}

class Sweep {
  readonly #parts: StoreParts
  readonly #inventory: Inventory
  readonly #options: SweepOptions
  readonly #graceStartMs: number
  readonly #found = Object.fromEntries(sweepKinds.map((kind) => [kind, { count: 0, bytes: 0 }])) as Record<
    SweepKind,
    { count: number; bytes: number }
  >
  /** Objects that stay. */
  readonly #stored = new Set<string>()
  readonly #wouldFree: WouldFree
  #held = 0
  #young = 0
  #unknown = 0

  constructor(parts: StoreParts, inventory: Inventory, options: SweepOptions, nowMs: number) {
    this.#parts = parts
    this.#inventory = inventory
    this.#options = options
    this.#graceStartMs = nowMs - options.graceMs
    this.#wouldFree = new WouldFree(inventory)
  }

  report(): SweepReport {
    const { dryRun } = this.#options
    return { dryRun, found: this.#found, held: this.#held, young: this.#young, unknown: this.#unknown }
  }

  readonly countRemoved = (kind: SweepKind, bytes: number): void => {
    this.#found[kind].count += 1
    this.#found[kind].bytes += bytes
  }

  async staging(notes: NoteSweep): Promise<void> {
    for await (const entry of this.#inventory.staged()) {
      this.#options.signal?.throwIfAborted()
      if (!(await this.#isAbandoned(entry, notes))) continue
      this.countRemoved('staging', entry.bytes)
      if (this.#options.dryRun) continue
      if (MEMBER.test(entry.name)) await this.#parts.members.fence(entry.name)
      else await this.#inventory.drop(entry.file)
    }
  }

  async objects(): Promise<void> {
    const newest = new Map<string, FoundObject>()
    for await (const object of this.#inventory.objects()) {
      this.#options.signal?.throwIfAborted()
      if (this.#wouldFree.has(object.key)) continue
      this.#stored.add(keySegment(object.key))
      const other = newest.get(object.key.sampleId)
      if (other === undefined) {
        newest.set(object.key.sampleId, object)
        continue
      }
      const [older, newer] = other.key.generation < object.key.generation ? [other, object] : [object, other]
      newest.set(object.key.sampleId, newer)
      await this.#superseded(older, newer)
    }
    if (this.#options.judge === null) return
    const { judge, signal } = this.#options
    for await (const batch of inBatches(newest.values(), AT_ONCE)) {
      signal?.throwIfAborted()
      await Promise.all(batch.map((object) => this.#freeIfOrphan(object, judge)))
    }
  }

  /** Removes the claims on samples that are gone. Runs after all objects were listed. */
  async claims(): Promise<void> {
    const { blobs, claims, coordination } = this.#parts
    for (const [segment, last] of await lastTurns(coordination.notes)) {
      const key = keyOfSegment(segment)
      if (key === null || this.#stored.has(segment) || (await blobs.has(key))) continue
      await claims.end(key, last)
    }
  }

  // Runs after all objects were listed. Objects that were put since are too young to go, and so are their files.
  async attachments(): Promise<void> {
    for await (const file of this.#inventory.extern()) {
      // In a dry run the objects that would go are still there, and their files were counted with them.
      if (this.#wouldFree.has(file.key) || this.#stored.has(keySegment(file.key)) || this.#tooYoung(file)) continue
      const shared = (await this.#inventory.beside(file))?.shared ?? null
      // Shared data has a name of its own in `content` too, so nothing is free yet.
      await this.#dropFile('extern', shared === null ? file : { ...file, bytes: 0 })
    }
    for await (const file of this.#inventory.unusedContent()) {
      if (!this.#tooYoung(file)) await this.#dropFile('content', file)
    }
  }

  // A process makes its folder first and its note second, so a folder without a note may belong to one that is starting.
  async #isAbandoned(entry: StagedEntry, notes: NoteSweep): Promise<boolean> {
    if (!entry.directory) return !this.#tooYoung(entry)
    if (FENCED.test(entry.name)) return !this.#tooYoung(entry)
    if (!MEMBER.test(entry.name) || entry.name === this.#parts.members.id) return false
    return notes.dead.has(entry.name) || ((await notes.isDead(entry.name)) && !this.#tooYoung(entry))
  }

  // The age of the newer generation counts: readers need that time to learn of it.
  async #superseded(older: FoundObject, newer: FoundObject): Promise<void> {
    const judgement = (await this.#options.judge?.(older)) ?? 'unknown'
    if (judgement !== 'listed' && !this.#tooYoung(newer)) await this.#free('superseded', older)
  }

  async #freeIfOrphan(object: FoundObject, judge: NonNullable<SweepOptions['judge']>): Promise<void> {
    const judgement = await judge(object)
    if (judgement === 'unknown') this.#unknown += 1
    if (judgement === 'orphan' && !this.#tooYoung(object)) await this.#free('orphans', object)
  }

  /** Frees a sample, or in a dry run only computes it. The bytes that become free; null when a living process holds it. */
  async retire(key: BlobKey): Promise<number | null> {
    if (!this.#options.dryRun) return this.#parts.retire(key)
    if (await this.#isHeld(key)) return null
    const object = await this.#inventory.object(key)
    return object === null ? 0 : this.#wouldFree.add(object)
  }

  async #free(kind: SweepKind, { key }: FoundObject): Promise<void> {
    const bytes = await this.retire(key)
    if (bytes === null) {
      this.#held += 1
      return
    }
    this.countRemoved(kind, bytes)
    this.#stored.delete(keySegment(key))
  }

  async #isHeld(key: BlobKey): Promise<boolean> {
    const { claims, leases, members } = this.#parts
    const holder = await claims.holder(key)
    return (holder !== null && !(await members.dead(holder))) || (await leases.held(key))
  }

  async #dropFile(kind: SweepKind, { file, bytes }: FoundFile): Promise<void> {
    this.countRemoved(kind, bytes)
    if (!this.#options.dryRun) await this.#inventory.drop(file)
  }

  #tooYoung({ touchedMs }: FoundFile): boolean {
    const young = touchedMs > this.#graceStartMs
    if (young) this.#young += 1
    return young
  }
}
