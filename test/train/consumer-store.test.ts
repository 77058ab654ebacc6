import { describe, expect, it } from 'vitest'
import { RunId, StoreId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { FeatureStore } from '../../src/store/feature-store.ts'
import type { ConsumerStore } from '../../src/train/data/sample-reader.ts'
import { hollowPorts, hollowSet, sharedMemory } from '../support/watched-ports.ts'
import { FakeEngine, fakeRef } from './fake-engine.ts'
import { FakeStore } from './fake-store.ts'

/** A store with three samples, as a consumer sees it. */
interface Subject {
  readonly store: ConsumerStore
  readonly refs: readonly [SampleRef, SampleRef, SampleRef]
  /** How many samples are leased or claimed now. */
  held(): number
}

const three = [fakeRef(0), fakeRef(1), fakeRef(2)] as const

async function fake(retain: boolean): Promise<Subject> {
  const store = new FakeStore(new FakeEngine(), retain)
  return { store, refs: three, held: () => store.leased.length }
}

async function real(retain: boolean): Promise<Subject> {
  const store = new FeatureStore(hollowPorts(sharedMemory()), { id: StoreId.parse('store'), retain })
  const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }
  const put = async ({ sampleId }: SampleRef) => {
    await using tensors = hollowSet()
    return await store.put(sampleId, tensors, about)
  }
  const refs = [await put(three[0]), await put(three[1]), await put(three[2])] as const
  return { store, refs, held: () => store.leases }
}

const GONE = { code: 'SAMPLE_NOT_FOUND' }
const BUSY = { code: 'STORE_BUSY' }
const giveBack = (hold: AsyncDisposable) => hold[Symbol.asyncDispose]()

// What the tests of the loader and the trainer take for a store behaves as one.
describe.each([
  ['the real store', real],
  ['its stand-in', fake],
] as const)('%s, to a consumer,', (_, make) => {
  it('leases samples in the order that they were asked for, again and again', async () => {
    const { store, refs, held } = await make(true)
    const [first, second, third] = refs
    for (let epoch = 0; epoch < 2; epoch += 1) {
      const leases = await store.getMany([third, first])
      expect([leases.map(({ ref }) => ref), held()]).toEqual([[third, first], 2])
      for (const lease of leases) await giveBack(lease)
    }
    const lease = await store.get(second)
    await giveBack(lease)
    await giveBack(lease)
    expect(held()).toBe(0)
  })

  it('leases none of several when one is gone', async () => {
    const { store, refs, held } = await make(true)
    await store.quarantine(refs[1], 'a test')
    await expect(store.getMany(refs)).rejects.toMatchObject(GONE)
    await expect(store.get(refs[1])).rejects.toMatchObject(GONE)
    expect(held()).toBe(0)
  })

  it('gives a claim to one at a time, and again once it was given back', async () => {
    const { store, refs, held } = await make(false)
    const claim = await store.claim(refs[0])
    await expect(store.claim(refs[0])).rejects.toMatchObject(BUSY)
    await giveBack(claim)
    await giveBack(await store.claim(refs[0]))
    expect(held()).toBe(0)
  })

  it('has a sample no more once its claim was acknowledged, which may be done twice', async () => {
    const { store, refs, held } = await make(false)
    const claim = await store.claim(refs[0])
    await claim.acknowledge()
    await claim.acknowledge()
    await expect(store.claim(refs[0])).rejects.toMatchObject(GONE)
    expect(held()).toBe(0)
  })

  it('says of many samples which it claimed, which another has and which are gone', async () => {
    const { store, refs, held } = await make(false)
    const [consumed, taken, free] = refs
    await (await store.claim(consumed)).acknowledge()
    const other = await store.claim(taken)
    const { claims, busy, gone } = await store.claimMany(refs)
    expect([claims.map(({ ref }) => ref), busy, gone, held()]).toEqual([[free], [taken], [consumed], 2])
    for (const claim of [other, ...claims]) await giveBack(claim)
    expect(held()).toBe(0)
  })
})
