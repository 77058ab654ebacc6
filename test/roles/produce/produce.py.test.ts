import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { TensorSet } from '../../../src/bridge/tensor-set.ts'
import { RunConfig } from '../../../src/config/schema.ts'
import { assertNoTensors } from '../../../src/core/no-tensors.ts'
import { readRefManifest, readTokenCounts } from '../../../src/refs/manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { sharedDirFeatureStore } from '../../../src/store/open.ts'
import { finished, listing, stateOf, stoppingAfter } from '../../support/producing.ts'
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

function configOf(dir: string, more: Record<string, unknown>): RunConfig {
  return RunConfig.parse({
    version: 1,
    run: { id: 'test', dir: path.join(dir, 'run') },
    target: { model: path.join(inputs, 'target'), dtype: 'float32' },
    data: { maxLength: 18 },
    store: { kind: 'shared-dir', root: path.join(dir, 'store'), durability: 'fast' },
    manifest: path.join(dir, 'manifest'),
    ...more,
  })
}

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
    expect(await readTokenCounts(one?.countsFile ?? '')).toEqual(await readTokenCounts(other?.countsFile ?? ''))
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
    expect(await readTokenCounts(after.countsFile)).toEqual(await readTokenCounts(before.countsFile))
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

const TALKS = [
  { id: 'one', messages: [...turn('hi', 'yo'), ...turn('and?', 'more')] },
  { id: 'no answer', messages: turn('hi', 'yo').slice(0, 1) },
  { conversations: [['human', 'q'] as const, ['gpt', 'a long answer, cut at the end of it'] as const].map(sharegpt) },
  { id: 'ready', input_ids: [1, 70, 71, 72, 2], loss_start: 2 },
]

function turn(user: string, assistant: string) {
  return [
    { role: 'user', content: user },
    { role: 'assistant', content: assistant },
  ]
}

function sharegpt([from, value]: readonly [string, string]) {
  return { from, value }
}

async function captureScene(talks: readonly unknown[] = TALKS) {
  const dir = await tempDir()
  const file = path.join(dir, 'talks.jsonl')
  await writeFile(file, talks.map((talk) => `${JSON.stringify(talk)}\n`).join(''))
  const config = configOf(dir, { data: { conversations: file, maxLength: 50, batchTokens: 120 } })
  return { config, file, store: path.join(dir, 'store') }
}

describe('capture', () => {
  it('publishes features and masks of all forms of conversation', async () => {
    const { config } = await captureScene()
    const context = watched()
    await produce(config, context)
    const { refs, contract, countsFile } = await readRefManifest({ dir: config.manifest })
    expect(refs.map(({ sampleId }) => sampleId)).toEqual([
      'test:one',
      expect.stringMatching(/^test:x-[0-9a-f]{24}$/),
      'test:ready',
    ])
    expect(refs.at(2).features).toEqual([
      { name: 'input_ids', shape: [5], dtype: 'int64' },
      { name: 'loss_mask', shape: [5], dtype: 'int64' },
      { name: 'hidden_state', shape: [5, 32], dtype: 'float32' },
      { name: 'aux_hidden_state', shape: [5, 96], dtype: 'float32' },
    ])
    expect(contract).toMatchObject({ maskRule: 'assistant-tokens', finalNorm: 'post', computeDtype: 'float32' })
    expect(finished(context)).toMatchObject({ samples: 3, skipped: 1, cut: 2, resumed: 0 })
    const counts = await readTokenCounts(countsFile)
    // A sample's last token is in its mask and is counted, but no row is trained on it.
    expect(counts.reduce((sum, [, count]) => sum + count, 0)).toBe(
      [...refs].reduce((sum, ref) => sum + (ref.trainedTokens ?? 0) + 1, 0),
    )
  })

  it('goes on where it was stopped without capturing again', async () => {
    const { config, store } = await captureScene()
    // The first is the one without an answer.
    await expect(produce(config, stoppingAfter(2))).rejects.toMatchObject({ code: 'INTERRUPTED' })
    const before = await listing(store)
    expect(before).toHaveLength(1)
    const second = watched()
    await produce(config, second)
    expect(finished(second)).toMatchObject({ samples: 3, resumed: 1, skipped: 1, cut: 2 })
    expect(await listing(store)).toEqual(expect.arrayContaining(before))
  })

  it('refuses to mix two sets of conversations in one manifest', async () => {
    const { config, file } = await captureScene()
    await produce(config, watched())
    const before = await readFile(path.join(config.manifest, 'manifest.json'), 'utf8')
    await writeFile(file, JSON.stringify(TALKS[0]))
    const otherWork = { code: 'MANIFEST_INVALID', details: { field: 'data.conversations' } }
    await expect(produce(config, watched())).rejects.toMatchObject(otherWork)
    await writeFile(file, TALKS.map((talk) => `${JSON.stringify(talk)}\n`).join(''))
    const longer = { ...config, data: { ...config.data, maxLength: 60 } }
    const found = '"50"; this producer has "60"'
    await expect(produce(longer, watched())).rejects.toMatchObject({ details: { field: 'data.maxLength', found } })
    expect(await readFile(path.join(config.manifest, 'manifest.json'), 'utf8')).toBe(before)
  })

  const NO_MESSAGE = { messages: [{ role: 'user' }] }
  const FOREIGN = { input_ids: [1, 320], loss_start: 1 }

  it('skips a bad input and counts it, by reason and place', async () => {
    const { config, file } = await captureScene([...TALKS, NO_MESSAGE, FOREIGN])
    const context = watched()
    await produce({ ...config, data: { ...config.data, maxBadShare: 0.5 } }, context)
    expect(finished(context)).toMatchObject({ inputs: 6, samples: 3, skipped: 1, refused: 2 })
    expect(context.seen.filter(({ event }) => event === 'produce.refused')).toEqual([
      {
        event: 'produce.refused',
        why: 'this is not a conversation that can be captured',
        samples: 1,
        places: [`${file}:5: messages.0.content: nothing, where a text should be`],
      },
      {
        event: 'produce.refused',
        why: 'the conversation has a token that the target does not have',
        samples: 1,
        places: [`${file}:6: input_ids: 320; the target's vocabulary has 320 tokens`],
      },
    ])
  })

  it('ends at a bad input when it is told so, and when too many are bad: lines before anything is captured', async () => {
    const lines = await captureScene([...TALKS, NO_MESSAGE, NO_MESSAGE])
    await expect(produce(lines.config, watched())).rejects.toThrow('too many samples are bad')
    expect(existsSync(lines.store)).toBe(false)
    const strict = await captureScene([FOREIGN, ...TALKS])
    const stop = { ...strict.config, data: { ...strict.config.data, onBad: 'stop' as const } }
    await expect(produce(stop, watched())).rejects.toMatchObject({
      code: 'FEATURE_INVALID',
      details: { file: `${strict.file}:1`, field: 'input_ids' },
    })
    expect((await stateOf(stop))?.state).toBe('failed')
  })

  it('goes on after its file was mended, and makes only what is new or other', async () => {
    const { config, file, store } = await captureScene([...TALKS, FOREIGN, FOREIGN])
    await expect(produce(config, watched())).rejects.toThrow('too many samples are bad')
    const before = await listing(store)
    // One more was encoded and not captured yet.
    expect(before).toHaveLength(2)
    const mended = [
      ...TALKS.slice(1, 3),
      { ...TALKS[3], input_ids: [1, 70, 71, 2] },
      { ...FOREIGN, input_ids: [1, 3, 4] },
    ]
    await writeFile(file, mended.map((talk) => `${JSON.stringify(talk)}\n`).join(''))
    const second = watched()
    await produce(config, second)
    expect(finished(second)).toMatchObject({ inputs: 4, samples: 3, resumed: 1, skipped: 1, refused: 0 })
    const { refs } = await readRefManifest({ dir: config.manifest })
    const made = expect.stringMatching(/^test:x-/)
    expect(refs.map(({ sampleId, numTokens }) => [sampleId, numTokens])).toEqual([
      [made, 50],
      ['test:ready', 4],
      [made, 3],
    ])
  })

  it('says so when no conversation has an answer', async () => {
    const { config } = await captureScene(TALKS.slice(1, 2))
    await expect(produce(config, watched())).rejects.toThrow('no sample has a loss token')
  })
})
