import { inBatches } from '../../core/in-batches.ts'
import { keySegment } from '../../store/blob-key.ts'
import { holdersOf } from '../../store/coordination/held-keys.ts'
import type { Members } from '../../store/coordination/members.ts'
import { type FoundObject, partOf } from '../../store/maintenance/inventory.ts'
import type { StoreCare } from '../../store/open-for-care.ts'

import { openStorePlace, type StorePlace } from './store-place.ts'

export interface StoredSample {
  readonly sampleId: string
  readonly generation: number
  /** Null: the object does not say, so it is damaged or not ours. */
  readonly run: string | null
  /** Its own and those of its linked file, of one that is shared its part. What lies in a user's file is not counted. */
  readonly bytes: number
  readonly modified: string
  /** Members of the store. */
  readonly leases: readonly string[]
  readonly claims: readonly string[]
  /** The same for a person: `claimed by process 7 on box (m…)`. Who has claimed it has leased it too, and stands once. */
  readonly held: readonly string[]
}

export interface RunSummary {
  readonly run: string | null
  readonly samples: number
  /** More than samples: older ones are there that nobody has removed. */
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
  /** The bytes on the books of the quota; null where no quota was ever given. */
  readonly usage: { readonly bytes: number; readonly quota: number | null } | null
  readonly members: { readonly living: number; readonly dead: number }
}

/** Everything that is stored, one by one, in no order. Looks only, and becomes no member. */
export async function* listSamples(place: StorePlace, signal: AbortSignal): AsyncIterable<StoredSample> {
  await using care = await openStorePlace(place)
  yield* samplesOf(care, signal)
}

export async function summariseStore(place: StorePlace, signal: AbortSignal): Promise<StoreSummary> {
  await using care = await openStorePlace(place)
  const runs = new Map<string | null, Tally>()
  let bytes = 0
  for await (const sample of samplesOf(care, signal)) {
    const tally = runs.get(sample.run) ?? new Tally(sample)
    tally.add(sample)
    runs.set(sample.run, tally)
    bytes += sample.bytes
  }
  const { parts, key } = care
  const usage = await parts.space.kept()
  return {
    store: parts.id,
    auth: key?.mode ?? 'none',
    runs: [...runs.values()].map((tally) => tally.summary()).sort((a, b) => (a.run ?? '~').localeCompare(b.run ?? '~')),
    bytes,
    usage,
    members: await livingAndDead(care),
  }
}

async function* samplesOf({ parts, files }: StoreCare, signal: AbortSignal): AsyncIterable<StoredSample> {
  const { notes } = parts.coordination
  const [leases, claims] = [await holdersOf(notes, 'leases'), await holdersOf(notes, 'claims')]
  const told = await heldBy(parts.members, leases, claims)
  const labelled = async (object: FoundObject): Promise<StoredSample> => {
    const name = keySegment(object.key)
    return {
      ...object.key,
      run: (await files.label(object))?.runId ?? null,
      bytes: object.bytes + partOf(await files.beside(object)),
      modified: new Date(object.modifiedMs).toISOString(),
      leases: leases.get(name) ?? [],
      claims: claims.get(name) ?? [],
      held: told(name),
    }
  }
  for await (const some of inBatches(files.objects(), AT_ONCE)) {
    signal.throwIfAborted()
    yield* await Promise.all(some.map(labelled))
  }
}

type Holders = Awaited<ReturnType<typeof holdersOf>>

/** Says who holds a sample. Each member is looked up once, however much it holds. */
async function heldBy(members: Members, leases: Holders, claims: Holders): Promise<(name: string) => string[]> {
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

/** Headers read together: enough to keep a remote file system busy. */
const AT_ONCE = 64

async function livingAndDead({ parts }: StoreCare): Promise<StoreSummary['members']> {
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
    // The form of these times sorts as text.
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
