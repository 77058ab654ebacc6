import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { RunConfig } from '../../src/config/schema.ts'
import type { StoreLocation } from '../../src/roles/maintain/store-location.ts'
import { summariseStore } from '../../src/roles/maintain/store-ls.ts'
import { type RmReport, removeRun } from '../../src/roles/maintain/store-rm.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { filesIn, putSample } from '../support/filled-store.ts'
import { checkHandlesAfterEach, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainingInputs, watched } from '../support/training.ts'

checkHandlesAfterEach()
const { signal } = new AbortController()
let root: string
let location: StoreLocation
beforeEach(async () => {
  root = path.join(await tempDir(), 'store')
  location = { root, config: null, keyFile: null }
})

const listed = () => summariseStore(location, signal)
const remove = (run: string, dryRun = false): Promise<RmReport> =>
  removeRun(location, { run, dryRun, force: false, signal, agree: async () => true })

/** What the quota counts, which is begun by looking. */
async function onTheBooks(): Promise<number> {
  await using store = await sharedDirFeatureStore({ python, root, retain: true, create: false, quota: 1e9 })
  return (await store.usage()).bytes
}

async function ingest(link: RunConfig['features']['link']): Promise<void> {
  const dir = path.dirname(root)
  await trainingInputs(dir, 4)
  const config = RunConfig.parse({
    version: 1,
    run: { id: 'linked', dir: path.join(dir, 'run') },
    target: { model: path.join(dir, 'target') },
    data: { maxLength: 18 },
    features: { source: 'files', files: path.join(dir, 'features'), link },
    store: { root, durability: 'fast' },
    manifest: path.join(dir, 'manifest'),
  })
  await produce(config, watched())
}

describe('the bytes of samples in linked files', () => {
  it('are counted, and freed, where the link is the store’s', async () => {
    await ingest('hardlink')
    expect(await filesIn(root, 'extern')).toHaveLength(4)
    const all = await onTheBooks()
    const { bytes, runs } = await listed()
    expect([bytes, runs.map((run) => run.bytes)]).toEqual([all, [all]])
    expect(await remove('linked', true)).toMatchObject({ removed: 4, bytes: all })
    expect(await remove('linked')).toMatchObject({ removed: 4, bytes: all })
    expect([await onTheBooks(), await filesIn(root, 'extern')]).toEqual([0, []])
  })

  it('are not where the file is the user’s', async () => {
    await ingest('reference')
    const { bytes } = await listed()
    expect([await filesIn(root, 'extern'), bytes]).toEqual([[], await onTheBooks()])
  })
})

describe('the bytes that samples share', () => {
  it('are counted once, and freed with the last sample', async () => {
    {
      await using store = await sharedDirFeatureStore({ python, root, retain: true, durability: 'fast', dedup: true })
      await putSample(store, 'one:0', 'one', 1)
      for (const [name, seed] of [
        ['two:0', 1],
        ['two:1', 2],
        ['two:2', 2],
      ] as const)
        await putSample(store, name, 'two', seed)
    }
    const all = await onTheBooks()
    const { bytes, runs } = await listed()
    expect([bytes, runs.reduce((sum, run) => sum + run.bytes, 0)]).toEqual([all, all])
    const { bytes: freed } = await remove('two')
    const left = await onTheBooks()
    expect([all - left, (await filesIn(root, 'content')).length]).toEqual([freed, 1])
    expect((await listed()).bytes).toBe(left)
    expect(await remove('one')).toMatchObject({ removed: 1, bytes: left })
    expect([await onTheBooks(), await filesIn(root, 'content')]).toEqual([0, []])
  })
})
