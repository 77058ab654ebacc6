import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import type { FeatureStore, PutAbout } from '../../src/store/feature-store.ts'
import { digestsOf } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { type Clients, digestsOrError } from './promise-bench.ts'
import { about, s0, sample } from './subject.ts'

/** Two projects in one store: whose a sample is. */
export function describeOwners({ both }: Clients): void {
  const putFor = async (store: FeatureStore, manifest: string | undefined, more: Partial<PutAbout> = {}) => {
    await using source = await sample(1)
    return await store.put(s0, source, { ...about, ...more, ...(manifest === undefined ? {} : { manifest }) })
  }
  // A ref of a sealed store holds keyed tags, so the tensors themselves are compared.
  const wanted = async () => {
    await using source = await sample(1)
    return await digestsOf(source)
  }
  /** The roots of two manifests, which are there. */
  const manifests = async () => {
    const dir = await tempDir()
    const [mine, theirs] = [path.join(dir, 'mine.json'), path.join(dir, 'theirs.json')]
    for (const file of [mine, theirs]) await writeFile(file, '{}')
    return { mine, theirs }
  }

  it('a put never replaces a sample that another complete manifest lists, unless it says so', async () => {
    const { here, there } = await both({ retain: true })
    const { mine, theirs } = await manifests()
    const ref = await putFor(there, theirs)
    await there.protect(theirs)
    for (const [store, manifest] of [
      [here, mine],
      [here, undefined],
      [there, mine],
    ] as const) {
      const refusal = { code: 'CONFIG_INVALID', details: { file: theirs, field: 'run.id' } }
      await expect(putFor(store, manifest)).rejects.toMatchObject(refusal)
      expect(await digestsOrError(here, ref)).toEqual(await wanted())
    }
    expect((await here.usage()).bytes).toBe((await there.usage()).bytes)
    const fresh = await putFor(here, mine, { replace: true })
    expect(fresh.generation).toBeGreaterThan(ref.generation)
    await expect(there.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
  })

  it('a manifest replaces its own samples, and those of one that is not complete or was removed', async () => {
    const { here, there } = await both({ retain: true })
    const { mine, theirs } = await manifests()
    await putFor(there, theirs)
    await putFor(here, mine)
    await here.protect(mine)
    const own = await putFor(there, mine)
    expect(await digestsOrError(here, own)).toEqual(await wanted())
    await rm(mine)
    const last = await putFor(there, theirs)
    expect(await digestsOrError(here, last)).toEqual(await wanted())
  })
}
