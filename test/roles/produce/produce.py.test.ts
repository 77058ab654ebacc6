import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { TensorSet } from '../../../src/bridge/tensor-set.ts'
import type { RunConfig } from '../../../src/config/schema.ts'
import { assertNoTensors } from '../../../src/core/no-tensors.ts'
import { readRefManifest, readTokenCounts } from '../../../src/refs/manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { sharedDirFeatureStore } from '../../../src/store/open.ts'
import { finished, listing, producing, stateOf, stoppingAfter } from '../../support/producing.ts'
import { checkHandlesAfterEach, digestsOf, python } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { pythonProgram, trainingInputs, watched } from '../../support/training.ts'

checkHandlesAfterEach()
const run = promisify(execFile)

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  const script = [path.resolve('test/support/make_masked_features.py'), path.join(inputs, 'odd')]
  const samples = [
    'a:32:float32: 0 0 0 0 0 0',
    'b:32:float32: 0 0 0 1 1 1',
    'narrow:16:float32: 1 1',
    'short:32:bfloat16: 1 1',
  ]
  await Promise.all([trainingInputs(inputs), run(pythonProgram, [...script, ...samples])])
})

/** A run of its own: its own copy of the feature files, its own store. 11 files of 9-21 tokens; three exceed 18. */
async function ingestScene(): Promise<{ config: RunConfig; files: string; store: string }> {
  const dir = await tempDir()
  const [files, store] = [path.join(dir, 'features'), path.join(dir, 'store')]
  await cp(path.join(inputs, 'features'), files, { recursive: true })
  return { config: configOf(dir, { features: { source: 'files', files: `${files}/**/*.ckpt*` } }), files, store }
}

const configOf = (dir: string, more: Record<string, unknown>) => producing(inputs, dir, more)

describe('ingest', () => {
  it('publishes every file in the order of its name, cut at maxLength, tensors untouched', async () => {
    const { config, files, store: root } = await ingestScene()
    const context = watched()
    await produce(config, context)
    const { refs, contract } = await readRefManifest({ dir: config.manifest })
    expect(refs.map(({ sampleId }) => sampleId)).toEqual(
      Array.from({ length: refs.length }, (_, index) => `test:${String(index).padStart(8, '0')}`),
    )
    expect(refs.map(({ numTokens }) => numTokens)).toEqual([9, 14, 18, 11, 16, 18, 13, 18, 10, 15, 18])
    for (const ref of refs) assertNoTensors(ref, 'ref')
    expect(contract).toMatchObject({ dtype: 'float32', maskRule: 'from-file', auxLayers: [1, 3, 4] })
    expect(finished(context)).toMatchObject({ samples: 11, cut: 3, skipped: 0, resumed: 0, tokens: 160 })

    const layers = { hidden_state: 1, aux_hidden_state: 3 }
    await using store = await sharedDirFeatureStore({ python, root, retain: true, create: false })
    for (const [index, name] of (await readdir(files)).sort().entries()) {
      const ref = index < refs.length ? refs.at(index) : undefined
      if (ref === undefined) throw new Error('a ref is missing')
      await using lease = await store.get(ref)
      const loaded = await python.call('ckpt.load', { path: path.join(files, name), maxLength: 18, layers })
      await using direct = new TensorSet(python, loaded.set)
      expect(await digestsOf(lease.tensors)).toEqual(await digestsOf(direct))
    }
  })

  it('does nothing when its manifest is complete', async () => {
    const { config, store } = await ingestScene()
    await produce(config, watched())
    const before = await Promise.all([readRefManifest({ dir: config.manifest }), listing(store)])
    const again = watched()
    await produce(config, again)
    expect(await Promise.all([readRefManifest({ dir: config.manifest }), listing(store)])).toEqual(before)
    expect(finished(again)).toMatchObject({ samples: 11, resumed: 11, cut: 3, tokens: 160, lossTokens: 97 })
  })

  it('goes on where it was stopped, and ends with what an undisturbed run publishes', async () => {
    const { config } = await ingestScene()
    const undisturbed = await ingestScene()
    await produce(undisturbed.config, watched())
    const first = produce(config, stoppingAfter(4))
    await expect(first).rejects.toMatchObject({ code: 'INTERRUPTED', details: { signal: 'SIGTERM' } })
    expect(await stateOf(config)).toMatchObject({ state: 'open' })
    const second = watched()
    await produce(config, second)
    expect(finished(second)).toMatchObject({ samples: 11, resumed: 4, cut: 3, tokens: 160, lossTokens: 97 })
    const [one, other] = await Promise.all(
      [config, undisturbed.config].map(({ manifest: dir }) => readRefManifest({ dir })),
    )
    expect(one?.refs.map(({ sampleId, digests }) => ({ sampleId, digests }))).toEqual(
      other?.refs.map(({ sampleId, digests }) => ({ sampleId, digests })),
    )
    expect(await readTokenCounts(one?.countsFiles ?? [])).toEqual(await readTokenCounts(other?.countsFiles ?? []))
  })

  it('makes again what is lost or damaged in the store, and only that', async () => {
    const { config, store } = await ingestScene()
    await expect(produce(config, stoppingAfter(4))).rejects.toMatchObject({ code: 'INTERRUPTED' })
    const [lost = '', damaged = ''] = (await listing(store)).filter((name) => /test:0000000[13]/.test(name))
    await rm(path.join(store, lost))
    await truncate(path.join(store, damaged), 5000)
    const second = watched()
    await produce(config, second)
    expect(finished(second)).toMatchObject({ samples: 11, resumed: 2 })
    expect((await readRefManifest({ dir: config.manifest })).refs).toHaveLength(11)
  })

  it('makes again what is lost behind a complete manifest', async () => {
    const { config, store } = await ingestScene()
    await produce(config, watched())
    const before = await readRefManifest({ dir: config.manifest })
    await rm(path.join(store, (await listing(store))[3] ?? ''))
    const again = watched()
    await produce(config, again)
    expect(finished(again)).toMatchObject({ samples: 11, resumed: 10 })
    const after = await readRefManifest({ dir: config.manifest })
    expect(await listing(store)).toHaveLength(11)
    const digests = ({ refs }: typeof after) => new Map(refs.map((ref) => [ref.sampleId, ref.digests]))
    expect(digests(after)).toEqual(digests(before))
    expect(await readTokenCounts(after.countsFiles)).toEqual(await readTokenCounts(before.countsFiles))
  })

  it('lets one producer at a time write a manifest', async () => {
    const { config } = await ingestScene()
    const results = await Promise.allSettled([produce(config, watched()), produce(config, watched())])
    expect(results).toContainEqual(expect.objectContaining({ reason: expect.objectContaining({ code: 'STORE_BUSY' }) }))
    expect((await readRefManifest({ dir: config.manifest })).refs).toHaveLength(11)
  })

  it('leaves a damaged file out and counts it, and makes no sample of what macOS leaves beside a file', async () => {
    const { config, files } = await ingestScene()
    const bad = path.join(files, 'data_000.ckpt')
    await truncate(bad, 700)
    await writeFile(path.join(files, '._data_001.ckpt'), 'Mac OS X')
    const context = watched()
    await produce(config, context)
    expect(finished(context)).toMatchObject({ inputs: 11, samples: 10, refused: 1 })
    const refused = context.seen.find(({ event }) => event === 'produce.refused')
    expect(refused).toMatchObject({ samples: 1, places: [expect.stringContaining(bad)] })
  })

  it('told so, it ends at a damaged file, names it, and keeps what was good; once repaired it goes on', async () => {
    const { config: lenient, files } = await ingestScene()
    const config = { ...lenient, data: { ...lenient.data, onBad: 'stop' as const } }
    const bad = path.join(files, 'data_005.ckpt')
    await truncate(bad, 700)
    const error = await produce(config, watched()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'FEATURE_INVALID', details: { file: bad } })
    expect(await stateOf(config)).toMatchObject({ state: 'failed', error: 'FEATURE_INVALID' })
    await cp(path.join(inputs, 'features', 'data_005.ckpt'), bad)
    const second = watched()
    await produce(config, second)
    expect(finished(second)).toMatchObject({ samples: 11, resumed: 5 })
  })

  it('ends when the store is full; what it says is published is all that is stored, and it goes on with more room', async () => {
    const { config, store } = await ingestScene()
    const features = { ...config.features, link: 'copy' as const }
    const [small, large] = [60_000, 10_000_000].map((quota) => ({
      ...config,
      features,
      store: { ...config.store, quota },
    }))
    if (small === undefined || large === undefined) throw new Error('no configs')
    await expect(produce(small, watched())).rejects.toMatchObject({ code: 'STORE_OVER_BUDGET' })
    const stored = await listing(store)
    expect(stored.length).toBeGreaterThan(0)
    const second = watched()
    await produce(large, second)
    expect(finished(second)).toMatchObject({ samples: 11, resumed: stored.length })
    expect(await listing(store)).toEqual(expect.arrayContaining(stored))
  })

  it('skips empty masks and counts them', async () => {
    const { config, files } = await ingestScene()
    await rm(files, { recursive: true })
    await mkdir(files)
    for (const name of ['a.ckpt', 'b.ckpt']) await cp(path.join(inputs, 'odd', name), path.join(files, name))
    const context = watched()
    await produce(config, context)
    expect(finished(context)).toMatchObject({ samples: 1, skipped: 1, tokens: 6, lossTokens: 2 })
    expect((await readRefManifest({ dir: config.manifest })).refs.map(({ sampleId }) => sampleId)).toEqual([
      'test:00000001',
    ])
  })

  it.each([
    ['another width', 'narrow.ckpt', 'width 16'],
    ['another dtype', 'short.ckpt', 'bfloat16; the first file has float32'],
  ])('refuses a file of %s than the others, and names it', async (_, name, found) => {
    const { config, files } = await ingestScene()
    await cp(path.join(inputs, 'odd', name), path.join(files, name))
    const error = await produce(config, watched()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'SPEC_MISMATCH', details: { file: path.join(files, name) } })
    expect(error).toHaveProperty('details.found', expect.stringContaining(found))
    expect(await stateOf(config)).toMatchObject({ state: 'failed', error: 'SPEC_MISMATCH' })
  })

  it('tells waiting consumers also when it fails before it can begin', async () => {
    const { config } = await ingestScene()
    const target = { ...config.target, model: '/nowhere/model' }
    await expect(produce({ ...config, target }, watched())).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    expect(await stateOf(config)).toMatchObject({ state: 'failed', error: 'CONFIG_INVALID' })
  })
})
