import { describe, expect, it } from 'vitest'
import { RunId, SampleId } from '../../src/core/ids.ts'
import { digestsOf } from '../support/python.ts'
import { about, bench, type Subject, s0, s1, sample } from './subject.ts'

/** When data is freed: by the last release, by abort, by close, and never otherwise. */
export function describeLeaseContract(name: string, subject: Subject): void {
  describe(`${name}: leases`, () => describeLeases(subject))
  describe(`${name}: abort and close`, () => describeEnds(subject))
}

function describeLeases(subject: Subject): void {
  const { store: open, put, consume } = bench(subject)

  it('frees on the last release, not before', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    const first = await store.get(ref)
    const second = await store.get(ref)
    await first[Symbol.asyncDispose]()
    const third = await store.get(ref)
    await second[Symbol.asyncDispose]()
    expect(store.leases).toBe(1)
    await third[Symbol.asyncDispose]()
    await expect(store.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    expect(store.leases).toBe(0)
  })

  it('keeps a retained sample through every release', async () => {
    const store = await open({ retain: true })
    const ref = await put(store, s0, 1)
    for (let epoch = 0; epoch < 3; epoch++) expect(await consume(store, ref)).toEqual(ref.digests)
  })

  it('takes a second release of one lease for nothing', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    const first = await store.get(ref)
    const second = await store.get(ref)
    await first[Symbol.asyncDispose]()
    await first[Symbol.asyncDispose]()
    const third = await store.get(ref)
    for (const lease of [second, third]) await lease[Symbol.asyncDispose]()
  })

  it('does not touch newer data when an old lease is released', async () => {
    const store = await open()
    const old = await store.get(await put(store, s0, 1))
    const fresh = await put(store, s0, 2)
    await old[Symbol.asyncDispose]()
    expect(await consume(store, fresh)).toEqual(fresh.digests)
  })

  it('frees nothing and holds nothing after a get that failed', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    const wrong = { ...ref, digests: { ...ref.digests, input_ids: 'xxh3_64:0000000000000000' } }
    await expect(store.get(wrong)).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT' })
    expect(store.leases).toBe(0)
    expect(await consume(store, ref)).toEqual(ref.digests)
  })

  it('still frees a consumed sample when the last reader beside it fails', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    const lease = await store.get(ref)
    const failing = store.get({ ...ref, runId: RunId.parse('other') }).catch((error: unknown) => error)
    await lease[Symbol.asyncDispose]()
    expect(await failing).toMatchObject({ code: expect.stringMatching(/SAMPLE_(CORRUPT|NOT_FOUND)/) })
    await expect(store.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })
}

function describeEnds(subject: Subject): void {
  const { store: open, put, consume } = bench(subject)

  it('aborts a sample as often as one likes, and one that never was', async () => {
    const store = await open({ retain: true })
    const ref = await put(store, s0, 1)
    const other = await put(store, s1, 2)
    for (let round = 0; round < 2; round++) await store.abort(s0)
    await store.abort(SampleId.parse('never'))
    await expect(store.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    expect(await consume(store, other)).toEqual(other.digests)
  })

  it('lets a lease live on after an abort, and its release leave the next put alone', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    const lease = await store.get(ref)
    await store.abort(s0)
    const fresh = await put(store, s0, 2)
    expect(await digestsOf(lease.tensors)).toEqual(ref.digests)
    await lease[Symbol.asyncDispose]()
    expect(await consume(store, fresh)).toEqual(fresh.digests)
  })

  it('leaves nothing behind when an abort meets a put under way', async () => {
    const store = await open()
    await using source = await sample(1)
    const putting = store.put(s0, source, about)
    await store.abort(s0)
    const ref = await putting
    await expect(store.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })

  it('frees what it holds when it is closed, leases included, and a later release does nothing', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    const lease = await store.get(ref)
    const late = store.get(ref).catch((error: unknown) => error)
    await Promise.all([store.close(), store.close()])
    expect(await late).toMatchObject({ code: 'STORE_CLOSED' })
    expect(() => lease.tensors.handle).toThrow('used after dispose')
    await lease[Symbol.asyncDispose]()
  })
}
