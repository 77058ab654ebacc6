import { inBatches } from '../../core/concurrency/in-batches.ts'
import { keySegment } from '../../store/blob-key.ts'
import { type FoundObject, partOf } from '../../store/blobs/inventory.ts'
import { holdersOf } from '../../store/coordination/held-keys.ts'
import type { Members } from '../../store/coordination/members.ts'
import type { MaintenanceStore } from '../../store/open-for-maintenance.ts'
import { openStoreLocation, type StoreLocation } from './store-location.ts'

export interface StoredSample {
  readonly sampleId: string
  readonly generation: number
  /** Null: the object has no readable run id, so it is damaged or a foreign file. */
  readonly run: string | null
  /** Bytes of the object and of its linked file; of a shared file only its share. Bytes in a user's files do not count. */
  readonly bytes: number
  readonly modified: string
  /** Ids of the members that hold a lease on it. */
  readonly leases: readonly string[]
  readonly claims: readonly string[]
  /** The same as text: `claimed by process 7 on box (m…)`. A claim includes a lease, so such a member appears once. */
  readonly held: readonly string[]
}

export interface RunSummary {
  readonly run: string | null
  readonly samples: number
  /** More than `samples` when old generations are still stored. */
  readonly generations: number
  readonly bytes: number
  readonly oldest: string
  readonly newest: string
  readonly leases: number
  readonly claims: number
}

export interface StoreSummary {
  readonly store: string
  readonly auth: 'none' | 'mac' | 'seal'
  readonly runs: readonly RunSummary[]
  readonly bytes: number
  /** The bytes counted against the quota; null if this store never had a quota. */
  readonly usage: { readonly bytes: number; readonly quota: number | null } | null
  readonly members: { readonly living: number; readonly dead: number }
}

/** Every stored sample, in no particular order. Reads only, and does not join the store as a member. */
export async function* listSamples(location: StoreLocation, signal: AbortSignal): AsyncIterable<StoredSample> {
  await using store = await openStoreLocation(location)
  yield* samplesOf(store, signal)
}

export async function summariseStore(location: StoreLocation, signal: AbortSignal): Promise<StoreSummary> {
  await using store = await openStoreLocation(location)
  const runs = new Map<string | null, Tally>()
  let bytes = 0
  for await (const sample of samplesOf(store, signal)) {
    const tally = runs.get(sample.run) ?? new Tally(sample)
    tally.add(sample)
    runs.set(sample.run, tally)
    bytes += sample.bytes
  }
  const { parts, key } = store
  const usage = await parts.space.recorded()
  return {
    store: parts.id,
    auth: key?.mode ?? 'none',
    runs: [...runs.values()].map((tally) => tally.summary()).sort((a, b) => (a.run ?? '~').localeCompare(b.run ?? '~')),
    bytes,
    usage,
    members: await countMembers(store),
  }
}

async function* samplesOf({ parts, files }: MaintenanceStore, signal: AbortSignal): AsyncIterable<StoredSample> {
  const { notes } = parts.coordination
  const [leases, claims] = [await holdersOf(notes, 'leases'), await holdersOf(notes, 'claims')]
  const holdersText = await describeHolders(parts.members, leases, claims)
  const labelled = async (object: FoundObject): Promise<StoredSample> => {
    const name = keySegment(object.key)
    return {
      ...object.key,
      run: (await files.label(object))?.runId ?? null,
      bytes: object.bytes + partOf(await files.beside(object)),
      modified: new Date(object.modifiedMs).toISOString(),
      leases: leases.get(name) ?? [],
      claims: claims.get(name) ?? [],
      held: holdersText(name),
    }
  }
  for await (const some of inBatches(files.objects(), AT_ONCE)) {
    signal.throwIfAborted()
    yield* await Promise.all(some.map(labelled))
  }
}

type Holders = Awaited<ReturnType<typeof holdersOf>>

/** A function that describes the holders of a sample. Each member is read once, however many samples it holds. */
async function describeHolders(
  members: Members,
  leases: Holders,
  claims: Holders,
): Promise<(name: string) => string[]> {
  const names = new Map<string, string>()
  for (const id of new Set([...leases.values(), ...claims.values()].flat())) names.set(id, await members.describe(id))
  return (name) => {
    const claimed = claims.get(name) ?? []
    const leased = (leases.get(name) ?? []).filter((id) => !claimed.includes(id))
    return [
      ...claimed.map((id) => `claimed by ${names.get(id) ?? id}`),
      ...leased.map((id) => `leased by ${names.get(id) ?? id}`),
    ]
  }
}

/** Headers that are read at the same time: enough to keep a remote file system busy. */
const AT_ONCE = 64

async function countMembers({ parts }: MaintenanceStore): Promise<StoreSummary['members']> {
  const counts = { living: 0, dead: 0 }
  for (const id of await parts.members.all()) counts[(await parts.members.dead(id)) ? 'dead' : 'living'] += 1
  return counts
}

class Tally {
  readonly #ids = new Set<string>()
  readonly #first: StoredSample
  #oldest: string
  #newest: string
  #generations = 0
  #bytes = 0
  #leases = 0
  #claims = 0

  constructor(first: StoredSample) {
    this.#first = first
    this.#oldest = first.modified
    this.#newest = first.modified
  }

  add(sample: StoredSample): void {
    this.#ids.add(sample.sampleId)
    this.#generations += 1
    this.#bytes += sample.bytes
    this.#leases += sample.leases.length
    this.#claims += sample.claims.length
    // ISO times sort as text.
    if (sample.modified < this.#oldest) this.#oldest = sample.modified
    if (sample.modified > this.#newest) this.#newest = sample.modified
  }

  summary(): RunSummary {
    return {
      run: this.#first.run,
      samples: this.#ids.size,
      generations: this.#generations,
      bytes: this.#bytes,
      oldest: this.#oldest,
      newest: this.#newest,
      leases: this.#leases,
      claims: this.#claims,
    }
  }
}
