import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, s0, s1, sample } from '../contract/subject.ts'
import { describeTwoProcesses } from '../contract/two-process.contract.ts'
import { checkHandlesAfterEach, python } from '../support/python.ts'
import { describeOnFuse, type MoodName, mounts } from './mounted.ts'

const GONE = { code: 'SAMPLE_NOT_FOUND' }

function machines(mood: MoodName) {
  checkHandlesAfterEach()
  const opened: FeatureStore[] = []
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close()
  })
  const open = async (point: string, changes: { readonly retain?: boolean; readonly quota?: number }) => {
    const store = await sharedDirFeatureStore({ python, root: path.join(point, 'store'), ...changes })
    opened.push(store)
    return store
  }
  return async (changes: { readonly retain?: boolean; readonly quota?: number } = {}) => {
    const [here = '', there = ''] = await mounts(mood, 2)
    return { here: await open(here, changes), there: await open(there, changes) }
  }
}

async function put(store: FeatureStore, sampleId = s0, seed = 1) {
  await using source = await sample(seed)
  return await store.put(sampleId, source, about)
}

describe.each(['cached', 'eioForGone'] as const)('names cached for a second, mood %s', (mood) => {
  describeOnFuse('two machines', () => describeTwoMachines(mood))
})

function describeTwoMachines(mood: MoodName): void {
  const both = machines(mood)

  it('a sample that the other one acknowledged is claimed no more, though its names are cached here', async () => {
    const { here, there } = await both()
    const ref = await put(here)
    for (const store of [here, there, here]) await (await store.claim(ref))[Symbol.asyncDispose]()
    await using claim = await there.claim(ref)
    await claim.acknowledge()
    await expect(here.claim(ref)).rejects.toMatchObject(GONE)
    await expect(there.claim(ref)).rejects.toMatchObject(GONE)
    expect(await here.claimMany([ref])).toMatchObject({ claims: [], busy: [], gone: [ref] })
  })

  it('nor one that the other one consumed by a release, and no get gives it', async () => {
    const { here, there } = await both()
    const ref = await put(here)
    await using mine = await here.claim(ref)
    await mine[Symbol.asyncDispose]()
    await (await there.get(ref))[Symbol.asyncDispose]()
    await expect(here.get(ref)).rejects.toMatchObject(GONE)
    await expect(here.claim(ref)).rejects.toMatchObject(GONE)
  })

  it('a ref that the other one has replaced is stale at once', async () => {
    const { here, there } = await both({ retain: true })
    const old = await put(here)
    await (await here.get(old))[Symbol.asyncDispose]()
    const fresh = await put(there, s0, 2)
    await expect(here.get(old)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
    await (await here.get(fresh))[Symbol.asyncDispose]()
  })

  it('of puts by turns the last one stays, and the others are gone', async () => {
    const { here, there } = await both({ retain: true })
    let newest = await put(here)
    for (const [at, store] of [there, here, there, here].entries()) {
      const ref = await put(store, s0, at + 2)
      expect(ref.generation).toBeGreaterThan(newest.generation)
      expect(await here.missing([newest, ref])).toEqual([newest])
      newest = ref
    }
  })

  it('both count the same bytes', async () => {
    const { here, there } = await both({ retain: true, quota: 1e6 })
    for (const [at, store] of [here, there, here, there].entries()) await put(store, at % 2 === 0 ? s0 : s1, at)
    const counted = await here.usage()
    expect(await there.usage()).toEqual(counted)
    await here.abort(s0)
    await there.abort(s1)
    expect(await here.usage()).toMatchObject({ bytes: 0 })
    expect(counted.bytes).toBeGreaterThan(0)
  })
}

// The other process is the other machine. Whatever the clock says that its files bear, nobody living is robbed, and who is
// dead is noticed in time.
const place = new Map<string, string>()
for (const mood of ['cached', 'clockAhead', 'clockBehind', 'clockJumps'] as const) {
  describeOnFuse(`two processes, each on a machine of its own, mood ${mood}`, () => {
    describeTwoProcesses(mood, {
      place: async () => {
        const [here = '', there = ''] = await mounts(mood, 2)
        const [own, root] = [here, there].map((point) => path.join(point, 'store'))
        place.set(root ?? '', own ?? '')
        return { root: root ?? '' }
      },
      open: (options) => sharedDirFeatureStore({ ...options, root: place.get(options.root) ?? options.root, python }),
    })
  })
}
