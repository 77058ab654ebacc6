import { afterEach } from 'vitest'
import type { TensorSet } from '../../src/bridge/tensor-set.ts'
import { RunId, SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { FeatureStore, PutAbout } from '../../src/store/feature-store.ts'
import { checkHandlesAfterEach, digestsOf, sampleSpecs, synthesize } from '../support/python.ts'

/** A kind of store under test: opens a new, empty one. */
export interface Subject {
  open(options: { readonly retain: boolean; readonly quota?: number }): Promise<FeatureStore>
}

export const about: PutAbout = { runId: RunId.parse('run'), numTokens: 6, provenance: { file: 'a.ckpt', index: 0 } }
export const s0 = SampleId.parse('run:00000000')
export const s1 = SampleId.parse('run:00000001.part.2')

/** Helpers of the contract's tests. Every store is closed after its test, and nothing may be left alive in Python. */
export function bench(subject: Subject) {
  checkHandlesAfterEach()
  const opened: FeatureStore[] = []
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close()
  })

  return {
    /** Consume-once unless the options say otherwise. */
    async store(options: { readonly retain?: boolean; readonly quota?: number } = {}): Promise<FeatureStore> {
      const store = await subject.open({ ...options, retain: options.retain ?? false })
      opened.push(store)
      return store
    },
    /** Puts the sample that `seed` stands for. */
    async put(store: FeatureStore, sampleId: SampleId, seed: number): Promise<SampleRef> {
      await using source = await sample(seed)
      return await store.put(sampleId, source, about)
    },
    /** Gets and releases. Returns the digests of what the reader saw. */
    async consume(store: FeatureStore, ref: SampleRef): Promise<Readonly<Record<string, string>>> {
      await using lease = await store.get(ref)
      return await digestsOf(lease.tensors)
    },
  }
}

export const sample = (seed: number): Promise<TensorSet> => synthesize(seed, sampleSpecs(6))
