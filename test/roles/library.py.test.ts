import { appendFile } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  buildDisaggEagle3Runtime,
  buildOfflineEagle3Runtime,
  type DisaggEagle3Options,
  type FeatureStore,
  ingestOfflineFeatures,
  localFeatureStore,
  type Manifest,
  sharedDirFeatureStore,
} from '../../src/index.ts'
import { expectNoHandles, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { curve, differingBits, trainingConfig, trainingInputs, type Watched, watched } from '../support/training.ts'

let dir: string
beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
})
afterEach(expectNoHandles)

function ingest(store: FeatureStore, name: string): Promise<Manifest> {
  const { run, target, features, data } = trainingConfig(dir, { name, ranks: 1 })
  const given = { runId: run.id, target: target.model, files: features.files ?? '', maxLength: data.maxLength }
  return ingestOfflineFeatures({ ...given, store, manifest: path.join(dir, name, 'manifest') })
}

const openShared = () => sharedDirFeatureStore({ python, root: path.join(dir, 'shared'), retain: true })
const short = (name: string) => trainingConfig(dir, { name, ranks: 1, maxSteps: 3, save: 1 })

async function trainShared(name: string, watch: Watched, change: Partial<DisaggEagle3Options> = {}) {
  await using store = await openShared()
  const manifest = await ingest(store, 'shared')
  const given = { config: short(name), store, manifest, events: watch.events, signal: watch.signal }
  await using runtime = await buildDisaggEagle3Runtime({ ...given, ...change })
  return await runtime.fit()
}

describe('the library, in one process and without the command line', () => {
  it('trains from a local store and from a shared one to the same bits, and says where it is', async () => {
    const offline = watched()
    const { checkpoint } = await (async () => {
      await using store = await localFeatureStore({ python, retain: true })
      const { refs, contract, countsFiles } = await ingest(store, 'local')
      const data = { refs, contract, countsFiles, manifestSha256: null }
      await using runtime = await buildOfflineEagle3Runtime({ config: short('a'), store, data, events: offline.events })
      expect([runtime.totalSteps, runtime.resumedFrom]).toEqual([3, null])
      return await runtime.fit()
    })()
    const disagg = watched()
    const other = await trainShared('b', disagg)
    expect(other).toMatchObject({ step: 3, stopped: false })
    expect(curve(disagg)).toHaveLength(3)
    expect(curve(disagg)).toEqual(curve(offline))
    expect(await differingBits(checkpoint, other.checkpoint)).toBe(0)
  })

  it('stops at the next step when its signal aborts, and goes on from there', async () => {
    const first = watched()
    first.abort.abort()
    expect(await trainShared('c', first)).toMatchObject({ step: 1, stopped: true })
    const rest = watched()
    const { checkpoint } = await trainShared('c', rest)
    expect(curve(rest).map(({ step }) => step)).toEqual([2, 3])
    expect(await differingBits(checkpoint, (await trainShared('b', watched())).checkpoint)).toBe(0)
  })

  it('fails without a trace when a sample is gone, so that the process can train again', async () => {
    const config = trainingConfig(dir, { name: 'f', ranks: 1 })
    const train = async () => {
      await using store = await localFeatureStore({ python, retain: false })
      const { refs, contract, countsFiles } = await ingest(store, 'once')
      const data = { refs, contract, countsFiles, manifestSha256: null }
      await using runtime = await buildOfflineEagle3Runtime({ config, store, data })
      return await runtime.fit()
    }
    await expect(train()).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    await expectNoHandles()
    expect(await trainShared('after', watched())).toMatchObject({ step: 3, stopped: false })
  })

  it('refuses a checkpoint that was harmed', async () => {
    const first = watched()
    first.abort.abort()
    const { checkpoint } = await trainShared('d', first)
    const file = path.join(checkpoint, 'optimizer.safetensors')
    await appendFile(file, 'x')
    await expect(trainShared('d', watched())).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID', details: { file } })
  })

  it('refuses to train for another target than the one that made the features', async () => {
    await using store = await openShared()
    const manifest = await ingest(store, 'shared')
    const contract = { ...manifest.contract, targetHash: 'xxh3_64:0000000000000000' }
    const other = trainShared('e', watched(), { manifest: { ...manifest, contract } })
    await expect(other).rejects.toMatchObject({ code: 'CONTRACT_MISMATCH', details: { field: 'target.model' } })
  })
})
