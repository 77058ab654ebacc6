import { describe, expect, it } from 'vitest'
import type { TensorSet } from '../../src/bridge/tensor-set.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { FeatureStore } from '../../src/store/feature-store.ts'
import { about, bench, type Subject, s0, sample } from './subject.ts'

type Operation = (store: FeatureStore, ref: SampleRef, source: TensorSet) => Promise<unknown>

const operations: Readonly<Record<string, Operation>> = {
  put: (store, _, source) => store.put(s0, source, about),
  get: (store, ref) => store.get(ref),
  abort: (store) => store.abort(s0),
  getMany: (store, ref) => store.getMany([ref]),
  claim: (store, ref) => store.claim(ref),
  claimMany: (store, ref) => store.claimMany([ref]),
  missing: (store, ref) => store.missing([ref]),
  quarantine: (store, ref) => store.quarantine(ref, 'a test'),
  protect: (store) => store.protect('/manifest/root.json'),
  fence: (store) => store.fence('m0123456789abcdef'),
  settleMembers: (store) => store.settleMembers(),
  usage: (store) => store.usage(),
  sweep: (store) => store.sweep({ dryRun: true, graceMs: 0 }),
}

/** After close, every operation fails with STORE_CLOSED. */
export function describeClosedContract(name: string, subject: Subject): void {
  describe(`${name}: closed`, () => {
    const { store: open, put } = bench(subject)

    it.each(Object.entries(operations))('%s after close is STORE_CLOSED', async (_, operation) => {
      const store = await open()
      const ref = await put(store, s0, 1)
      await store.close()
      await using source = await sample(2)
      await expect(operation(store, ref, source)).rejects.toMatchObject({ code: 'STORE_CLOSED', exitCode: 70 })
    })

    it('covers every operation a store has', () => {
      const described = Object.entries(Object.getOwnPropertyDescriptors(FeatureStore.prototype))
      const methods = described.filter(([, property]) => typeof property.value === 'function').map(([key]) => key)
      expect(methods.sort()).toEqual(['close', 'constructor', ...Object.keys(operations)].sort())
    })

    it('may be closed again', async () => {
      const store = await open()
      await store.close()
      await store.close()
      await store[Symbol.asyncDispose]()
    })
  })
}
