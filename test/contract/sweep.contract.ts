import { describe, expect, it } from 'vitest'
import { about, bench, type Subject, s0, s1, sample } from './subject.ts'

/** What a sweep promises in every kind of store. */
export function describeSweepContract(name: string, subject: Subject): void {
  describe(`a sweep of a ${name} store`, () => {
    const { store: open, put, consume } = bench(subject)

    it('without a list of what is needed, removes no sample that is the newest of its id', async () => {
      const store = await open({ retain: true })
      const ref = await put(store, s0, 1)
      await store.sweep({ dryRun: false, graceMs: 0 })
      expect(await store.missing([ref])).toEqual([])
    })

    it('removes what is not needed, and keeps what is', async () => {
      const store = await open({ retain: true })
      const [kept, orphan] = [await put(store, s0, 1), await put(store, s1, 2)]
      const keep = ({ sampleId }: { sampleId: string }): boolean => sampleId === s0
      const dry = await store.sweep({ dryRun: true, graceMs: 0, keep })
      expect([dry.found.orphans.count, await store.missing([orphan])]).toEqual([1, []])
      const { found } = await store.sweep({ dryRun: false, graceMs: 0, keep })
      expect(found.orphans).toEqual(dry.found.orphans)
      expect(found.orphans.bytes).toBeGreaterThan(0)
      expect(await store.missing([kept, orphan])).toEqual([orphan])
      await expect(store.get(orphan)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
      expect(await consume(store, kept)).toEqual(kept.digests)
    })

    it('never frees what is leased or claimed', async () => {
      const store = await open({ retain: true })
      const refs = [await put(store, s0, 1), await put(store, s1, 2)] as const
      {
        await using _ = await store.get(refs[0])
        await using __ = await store.claim(refs[1])
        const report = await store.sweep({ dryRun: false, graceMs: 0, keep: () => false })
        expect([report.held, report.found.orphans.count]).toEqual([2, 0])
        expect(await store.missing(refs)).toEqual([])
      }
      expect((await store.sweep({ dryRun: false, graceMs: 0, keep: () => false })).found.orphans.count).toBe(2)
    })

    it('counts what it freed off the quota', async () => {
      const store = await open({ retain: true, quota: 1e9 })
      await put(store, s0, 1)
      await store.sweep({ dryRun: false, graceMs: 0, keep: () => false })
      expect(await store.usage()).toEqual({ bytes: 0, quota: 1e9 })
    })

    it('refuses a put above the quota and leaves everything as it was', async () => {
      const store = await open({ retain: true, quota: 20_000 })
      const ref = await put(store, s0, 1)
      const before = await store.usage()
      await using large = await sample(3)
      const full = await open({ retain: true, quota: large.bytes - 1 })
      await expect(full.put(s1, large, about)).rejects.toMatchObject({ code: 'STORE_OVER_BUDGET', exitCode: 75 })
      expect(await full.usage()).toMatchObject({ bytes: 0 })
      expect([await store.usage(), await consume(store, ref)]).toEqual([before, ref.digests])
    })
  })
}
