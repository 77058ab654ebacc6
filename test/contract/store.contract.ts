import { describe, expect, it } from 'vitest'
import { Dtype } from '../../src/core/feature-spec.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { digestsOf, synthesize } from '../support/python.ts'
import { describeBadInputContract } from './bad-input.contract.ts'
import { describeClosedContract } from './closed.contract.ts'
import { describeLeaseContract } from './lease.contract.ts'
import { about, bench, type Subject, s0, s1, sample } from './subject.ts'
import { describeSweepContract } from './sweep.contract.ts'

/** What a FeatureStore must give on every pair of Blobs and Coordination. */
export function describeStoreContract(name: string, subject: Subject): void {
  describe(`${name}: bytes`, () => describeBytes(subject))
  describe(`${name}: generations`, () => describeGenerations(subject))
  describeLeaseContract(name, subject)
  describeBadInputContract(name, subject)
  describeClosedContract(name, subject)
  describeSweepContract(name, subject)
}

function describeBytes(subject: Subject): void {
  const { store: open, put, consume } = bench(subject)

  it('returns the bytes that were put, described by the ref', async () => {
    const store = await open()
    await using source = await sample(1)
    const ref = await store.put(s0, source, about)
    expect(ref).toMatchObject({ sampleId: s0, storeId: store.id, ...about, bytes: source.bytes })
    expect(ref.features).toEqual(source.features)
    expect(ref.digests).toEqual(await digestsOf(source))
    expect(await consume(store, ref)).toEqual(ref.digests)
  })

  it('keeps every dtype, scalars and tensors without elements', async () => {
    const store = await open()
    const specs = Dtype.options.flatMap((dtype) => [
      { name: `a_${dtype}`, shape: [3, 2], dtype },
      { name: `b_${dtype}`, shape: [0, 4], dtype },
      { name: `c_${dtype}`, shape: [], dtype },
    ])
    await using source = await synthesize(7, specs)
    const ref = await store.put(s0, source, about)
    await using lease = await store.get(ref)
    expect(lease.tensors.features).toEqual(specs)
    expect(await digestsOf(lease.tensors)).toEqual(await digestsOf(source))
  })

  it('gives only the features that were asked for, in that order', async () => {
    const store = await open({ retain: true })
    const ref = await put(store, s0, 1)
    await using lease = await store.get(ref, { names: ['loss_mask', 'input_ids', 'loss_mask'] })
    expect(lease.tensors.features.map((spec) => spec.name)).toEqual(['loss_mask', 'input_ids'])
    const { loss_mask, input_ids } = ref.digests
    expect(await digestsOf(lease.tensors)).toEqual({ loss_mask, input_ids })
  })

  it('does not need the source of a put any more', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    expect(await consume(store, ref)).toEqual(ref.digests)
  })

  it('gives each reader a copy of its own, which outlasts the sample', async () => {
    const store = await open({ retain: true })
    const ref = await put(store, s0, 1)
    await using first = await store.get(ref)
    await using second = await store.get(ref)
    expect(first.tensors.handle).not.toBe(second.tensors.handle)
    await second[Symbol.asyncDispose]()
    await store.abort(s0)
    expect(await digestsOf(first.tensors)).toEqual(ref.digests)
  })

  it('leaves the sample as it was when a put fails', async () => {
    const store = await open({ retain: true })
    const ref = await put(store, s0, 1)
    const freed = await sample(2)
    await freed[Symbol.asyncDispose]()
    await expect(store.put(s0, freed, about)).rejects.toThrow('used after dispose')
    expect(await consume(store, ref)).toEqual(ref.digests)
    await expect(put(store, s0, 3)).resolves.toBeDefined()
  })
}

function describeGenerations(subject: Subject): void {
  const { store: open, put, consume } = bench(subject)
  const stale = (ref: SampleRef, current: SampleRef) => ({
    code: 'SAMPLE_STALE',
    details: { sampleId: ref.sampleId, generation: ref.generation, current: current.generation },
  })

  it('refuses a ref whose sample was put again', async () => {
    const store = await open()
    const old = await put(store, s0, 1)
    const fresh = await put(store, s0, 2)
    await expect(store.get(old)).rejects.toMatchObject(stale(old, fresh))
    expect(await consume(store, fresh)).toEqual(fresh.digests)
  })

  it('refuses a ref that was freed and then put again', async () => {
    const store = await open()
    const old = await put(store, s0, 1)
    await consume(store, old)
    const fresh = await put(store, s0, 2)
    await expect(store.get(old)).rejects.toMatchObject(stale(old, fresh))
  })

  it('refuses a ref that was aborted and then put again, with the same bytes', async () => {
    const store = await open()
    const old = await put(store, s0, 1)
    await store.abort(s0)
    const fresh = await put(store, s0, 1)
    await expect(store.get(old)).rejects.toMatchObject(stale(old, fresh))
  })

  it('tells which of many refs are gone, stale ones included', async () => {
    const store = await open({ retain: true })
    const [stale, there] = [await put(store, s0, 1), await put(store, s1, 2)]
    expect(await store.missing([stale, there])).toEqual([])
    const fresh = await put(store, s0, 3)
    expect(await store.missing([stale, there, fresh])).toEqual([stale])
  })

  it('says that a sample which was freed or never put is not there', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    await consume(store, ref)
    const details = { sampleId: s0, generation: ref.generation }
    await expect(store.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND', details })
    await expect(store.get({ ...ref, sampleId: s1 })).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })

  it('never mints a generation twice, and each is greater than the one before', async () => {
    const store = await open()
    const seen: number[] = []
    for (let round = 0; round < 4; round++) {
      const refs = await Promise.all([put(store, s0, 1), put(store, s1, 2)])
      seen.push(...refs.map((ref) => ref.generation).sort((a, b) => a - b))
      await store.abort(s0)
    }
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b))
  })

  it('lets exactly one of many puts at once survive, whole', async () => {
    const store = await open({ retain: true })
    const refs = await Promise.all([1, 2, 3, 4, 5].map((seed) => put(store, s0, seed)))
    const newest = refs.reduce((a, b) => (a.generation > b.generation ? a : b))
    expect(await consume(store, newest)).toEqual(newest.digests)
    for (const ref of refs.filter((each) => each !== newest)) {
      await expect(store.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
    }
  })
}
