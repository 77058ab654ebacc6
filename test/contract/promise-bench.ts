import { afterEach } from 'vitest'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { checkHandlesAfterEach, digestsOf } from '../support/python.ts'
import { about, s0, sample } from './subject.ts'

interface OpenOptions {
  readonly retain: boolean
  readonly quota?: number
}

/** One store that several clients open; each place is a new one. */
export interface Place {
  open(options: OpenOptions): Promise<FeatureStore>
  /** Throw away what only lives as long as somebody has the store open. */
  end?(): Promise<void>
}

export interface PromiseSubject {
  readonly outlivesClients: boolean
  place(): Promise<Place>
}

/** What a reader sees, or why it sees nothing. */
export async function digestsOrError(
  store: FeatureStore,
  ref: SampleRef,
): Promise<Readonly<Record<string, string>> | Error> {
  try {
    await using lease = await store.get(ref)
    return await digestsOf(lease.tensors)
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
}

export type Clients = ReturnType<typeof bench>

/** Opens clients and closes them after each test. */
export function bench(subject: PromiseSubject) {
  const opened: FeatureStore[] = []
  const places: Place[] = []
  checkHandlesAfterEach()
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close()
    for (const place of places.splice(0)) await place.end?.()
  })
  const open = async (place: Place, options: OpenOptions) => {
    const store = await place.open(options)
    opened.push(store)
    return store
  }
  return {
    open,
    /** Two clients of one new store. */
    async both({ retain = false }: { readonly retain?: boolean } = {}) {
      const place = await subject.place()
      places.push(place)
      return { here: await open(place, { retain }), there: await open(place, { retain }), place }
    },
    /** The ref, and the digests of what was given: those of the ref are masked under seal. */
    async put(store: FeatureStore, seed: number, sampleId = s0) {
      await using source = await sample(seed)
      return { ref: await store.put(sampleId, source, about), digests: await digestsOf(source) }
    },
  }
}
