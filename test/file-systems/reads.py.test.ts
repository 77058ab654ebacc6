import { readdirSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { hasCode } from '../../src/core/errors.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, s0, s1, sample } from '../contract/subject.ts'
import { checkHandlesAfterEach, digestsOf, python } from '../support/python.ts'
import { describeOnFuse, type MoodName, mounts } from './mounted.ts'

/** What this process has open below `dir`. */
const openBelow = (dir: string) =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(dir)
    } catch {
      return false
    }
  })

describeOnFuse('reads that end badly', () => {
  checkHandlesAfterEach()
  const opened: FeatureStore[] = []
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close()
  })
  const on = async (mood: MoodName) => {
    const [point = ''] = await mounts(mood, 1)
    const store = await sharedDirFeatureStore({ python, root: path.join(point, 'store'), retain: true })
    opened.push(store)
    const refs = []
    for (const [at, id] of [s0, s1].entries()) {
      await using source = await sample(at)
      refs.push(await store.put(id, source, about))
    }
    return { point, store, refs }
  }
  const expectNothingLeft = async (store: FeatureStore, point: string) => {
    expect(store.leases).toBe(0)
    expect(openBelow(point)).toEqual([])
    expect(await python.call('host.live', {})).toEqual({ handles: 0 })
  }

  it('ESTALE from every read is STORE_UNAVAILABLE, may be retried, and leaves nothing behind', async () => {
    const { point, store, refs } = await on('staleAlways')
    for (const attempt of [() => store.getMany(refs), () => store.claimMany(refs)]) {
      const error: unknown = await attempt().catch((failed: unknown) => failed)
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', retryable: true })
      await expectNothingLeft(store, point)
    }
  })

  it('ESTALE now and then costs no sample, or has that code', async () => {
    const { point, store, refs } = await on('staleReads')
    let good = 0
    for (const ref of [...refs, ...refs, ...refs]) {
      try {
        await using lease = await store.get(ref)
        expect(await digestsOf(lease.tensors)).toEqual(ref.digests)
        good += 1
      } catch (error) {
        if (!hasCode(error, 'STORE_UNAVAILABLE')) throw error
      }
    }
    expect(good).toBeGreaterThan(0)
    await expectNothingLeft(store, point)
  })

  it.each(['staleClose', 'shortReads', 'bigInodes', 'slow'] as const)(
    '%s: every sample is read whole',
    async (mood) => {
      const { point, store, refs } = await on(mood)
      for (const lease of await store.getMany(refs)) {
        expect(await digestsOf(lease.tensors)).toEqual(lease.ref.digests)
        await lease[Symbol.asyncDispose]()
      }
      await expectNothingLeft(store, point)
    },
  )
})
