import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { RunConfig } from '../../../src/config/schema.ts'
import { partFolder, readManifestSoFar, readRefManifest, readTokenCounts } from '../../../src/refs/manifest.ts'
import { inspectManifest, verifyManifest } from '../../../src/roles/maintain/inspect-manifest.ts'
import { cleanStore } from '../../../src/roles/maintain/store-gc.ts'
import { rekeyStore } from '../../../src/roles/maintain/store-rekey.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { produceHere } from '../../../src/roles/produce/produce-here.ts'
import { keyFile } from '../../support/key-files.ts'
import { listing, producing, stoppingAfter } from '../../support/producing.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { trainHere } from '../../support/train-here.ts'
import { curve, trainingInputs, type Watched, watched } from '../../support/training.ts'

checkHandlesAfterEach()

let inputs = ''
let talks = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
  talks = path.join(inputs, 'talks.jsonl')
  await writeFile(
    talks,
    conversations()
      .map((talk) => `${JSON.stringify(talk)}\n`)
      .join(''),
  )
})

/** Twelve inputs: with and without ids, the same one twice, a bad one, one without an answer. */
function conversations(): unknown[] {
  const asks = Array.from({ length: 9 }, (_, index) => {
    const messages = [
      { role: 'user', content: `question ${index}` },
      { role: 'assistant', content: 'an answer '.repeat(1 + (index % 4)) },
    ]
    return index % 3 === 0 ? { messages } : { id: `talk-${9 - index}`, messages }
  })
  const silent = { id: 'silent', messages: [{ role: 'user', content: 'hm' }] }
  return [...asks.slice(0, 4), { messages: [{ role: 'user' }] }, ...asks.slice(4), asks[0], silent]
}

async function scene(launch: object = {}): Promise<RunConfig> {
  const dir = await tempDir()
  const data = { conversations: talks, maxLength: 40, maxBadShare: 0.5 }
  const train = { epochs: 1, maxSteps: 4, batch: { samples: 2 }, precision: 'fp32', ttt: { steps: 2 }, logInterval: 1 }
  return producing(inputs, dir, { data, launch, draft: { vocabSize: 64 }, train: { ...train, save: { every: 100 } } })
}

async function inParts(config: RunConfig, indices: readonly number[], count: number): Promise<Watched[]> {
  const contexts: Watched[] = []
  for (const index of indices) {
    const context = watched()
    await produce(config, context, { index, count })
    contexts.push(context)
  }
  return contexts
}

/** All that must be the same however the samples were produced. */
async function outcome(config: RunConfig) {
  const { refs, contract, countsFiles } = await readRefManifest({ dir: config.manifest })
  const seen = watched()
  await trainHere(config, seen)
  return {
    samples: refs.map(({ sampleId, order, digests, numTokens }) => ({ sampleId, order, digests, numTokens })),
    ids: refs.checkAll(),
    content: refs.contentDigest(),
    counts: await readTokenCounts(countsFiles),
    contract,
    losses: curve(seen).map(({ loss, gradNorm }) => [loss, gradNorm]),
  }
}

describe('a data set captured in parts', () => {
  it('gives the same manifest and the same training as one producer does', async () => {
    const whole = await scene()
    const one = watched()
    await produce(whole, one)
    const wanted = await outcome(whole)
    expect(wanted.samples).toHaveLength(10)
    expect(wanted.losses).toHaveLength(4)
    expect(wanted.samples.map(({ order }) => order)).toEqual([0, 1, 2, 3, 5, 6, 7, 8, 9, 10])

    const three = await scene()
    await inParts(three, [2, 0, 1], 3)
    expect(await outcome(three)).toEqual(wanted)

    const resumed = await scene()
    await inParts(resumed, [2], 3)
    await expect(produce(resumed, stoppingAfter(2), { index: 0, count: 3 })).rejects.toMatchObject({
      code: 'INTERRUPTED',
    })
    await inParts(resumed, [1], 3)
    const before = await readManifestSoFar({ dir: resumed.manifest })
    expect(before.root.state).toBe('open')
    await expect(readRefManifest({ dir: resumed.manifest })).rejects.toThrow('part-000 is open')
    const [again] = await inParts(resumed, [0], 3)
    expect(again?.seen.find(({ event }) => event === 'produce.finished')).toMatchObject({ resumed: 2 })
    expect(await outcome(resumed)).toEqual(wanted)

    const processes = await scene({ processes: 3 })
    const context = watched()
    await produceHere(processes, context)
    expect(await outcome(processes)).toEqual(wanted)
    expect(summed(context)).toEqual(summed(one))
  })
})

/** The events of a producer, without what is another one at each start, and repeats: a part finds only its own. */
const summed = ({ seen }: Watched): readonly unknown[] =>
  seen
    .filter(({ event }) => event !== 'produce.progress')
    .map((body) => ({
      ...body,
      ...(body.event === 'produce.finished' ? { seconds: 0, manifest: '', repeats: 0 } : {}),
    }))

const refusal = (attempt: Promise<unknown>) => expect(attempt).rejects

describe('a part', () => {
  it('may have no input, or only bad ones and ones without an answer', async () => {
    const config = await scene()
    const many = Array.from({ length: 14 }, (_, index) => index)
    const contexts = await inParts(config, many, 14)
    const figures = contexts.map(({ seen }) => seen.find(({ event }) => event === 'produce.finished'))
    expect(figures[4]).toMatchObject({ inputs: 1, samples: 0, refused: 1, part: { index: 4, count: 14 } })
    expect(figures[11]).toMatchObject({ inputs: 1, samples: 0, skipped: 1 })
    expect(figures[13]).toMatchObject({ inputs: 0, samples: 0 })
    const { refs } = await readRefManifest({ dir: config.manifest })
    expect(refs.map(({ order }) => order)).toEqual([0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
  })

  it('counts bad inputs over its own share', async () => {
    const config = await scene()
    const strict = { ...config, data: { ...config.data, maxBadShare: 0, onBad: 'stop' as const } }
    // The bad one is the fifth input.
    await refusal(inParts(strict, [0], 2)).toMatchObject({ code: 'FEATURE_INVALID' })
    const [context] = await inParts(strict, [1], 2)
    expect(context?.seen.find(({ event }) => event === 'produce.started')).toMatchObject({ total: 6 })
  })

  it('is refused beside parts of another number, other inputs, or a whole manifest, before anything is captured', async () => {
    const config = await scene()
    await inParts(config, [0], 3)
    await refusal(inParts(config, [1], 2)).toMatchObject({ code: 'MANIFEST_INVALID', details: { field: 'part.count' } })
    await refusal(produce(config, watched())).toThrow('--part 0/3 to --part 2/3')
    const longer = { ...config, data: { ...config.data, maxLength: 30 } }
    await refusal(inParts(longer, [1], 3)).toMatchObject({
      code: 'MANIFEST_INVALID',
      details: { field: 'data.maxLength' },
    })
    const whole = await scene()
    await produce(whole, watched())
    await refusal(inParts(whole, [0], 2)).toThrow('go on without --part')
    const found = await readManifestSoFar({ dir: config.manifest })
    expect(found.parts?.map(({ state }) => state)).toEqual(['complete', 'missing', 'missing'])
  })

  it('that is complete is left as it is; a mended line is captured by its part, and the others only look', async () => {
    const config = await scene()
    const own = path.join(path.dirname(config.manifest), 'talks.jsonl')
    await copyFile(talks, own)
    const mending = { ...config, data: { ...config.data, conversations: own } }
    await inParts(mending, [0, 1], 3)
    const lines = (await readFile(own, 'utf8')).split('\n')
    lines[4] = JSON.stringify({
      messages: [
        { role: 'user', content: 'new' },
        { role: 'assistant', content: 'line' },
      ],
    })
    await writeFile(own, lines.join('\n'))
    await inParts(mending, [2], 3)
    await refusal(readRefManifest({ dir: mending.manifest })).toMatchObject({
      details: { field: 'data.conversations' },
    })
    const [second, first] = await inParts(mending, [1, 0], 3)
    const end = (context: Watched | undefined) => context?.seen.find(({ event }) => event === 'produce.finished')
    expect([end(second), end(first)]).toMatchObject([
      { samples: 4, resumed: 3 },
      { samples: 4, resumed: 4 },
    ])
    const { refs } = await readRefManifest({ dir: mending.manifest })
    expect(refs.map(({ order }) => order)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    const again = await inParts(mending, [0], 3)
    expect(end(again[0])).toMatchObject({ samples: 4, resumed: 4 })
  })

  it('of feature files has the samples that one producer would give it', async () => {
    const files = async () => {
      const dir = await tempDir()
      return producing(inputs, dir, { features: { source: 'files', files: path.join(inputs, 'features') } })
    }
    const [whole, parts] = [await files(), await files()]
    await produce(whole, watched())
    await inParts(parts, [1, 0], 2)
    const [one, two] = [await readRefManifest({ dir: whole.manifest }), await readRefManifest({ dir: parts.manifest })]
    expect(two.refs.contentDigest()).toBe(one.refs.contentDigest())
    expect(two.refs.map(({ order, sampleId }) => [order, sampleId])).toEqual(
      one.refs.map(({ order, sampleId }) => [order, sampleId]),
    )
    expect(two.contract).toEqual(one.contract)
  })
})

describe('the store of a manifest in parts', () => {
  it('keeps the samples of all its parts, also when only one part is named, and knows those that are lost', async () => {
    const config = await scene()
    await inParts(config, [0, 1, 2], 3)
    const location = { root: config.store.root, config: null, keyFile: null }
    const clean = (manifests: string[]) =>
      cleanStore(location, { manifests, graceMs: 0, dryRun: false, signal: new AbortController().signal })
    const before = await listing(config.store.root)
    expect((await clean([partFolder(config.manifest, 1)])).open).toEqual([partFolder(config.manifest, 1)])
    expect(await clean([config.manifest])).toMatchObject({ open: [], found: { orphans: { count: 0 } } })
    expect(await listing(config.store.root)).toEqual(before)
    expect(await verifyManifest(config.manifest, location)).toMatchObject({ samples: 10, missing: [] })
    await rm(path.join(config.store.root, before[3] ?? ''))
    expect((await verifyManifest(config.manifest, location)).missing).toHaveLength(1)
  })

  it('with a key has every part signed, also with a new key', async () => {
    const [oldKey, newKey] = [await keyFile(1), await keyFile(2)]
    const plain = await scene()
    const config = { ...plain, store: { ...plain.store, auth: { mode: 'mac' as const, keyFile: oldKey } } }
    await inParts(config, [0, 1], 2)
    const place = (file: string) => ({ root: config.store.root, config: null, keyFile: file })
    expect(await inspectManifest(config.manifest, 0)).toMatchObject({ signed: true, samples: 10, state: 'complete' })
    expect(await verifyManifest(config.manifest, place(oldKey))).toMatchObject({ samples: 10, missing: [] })
    const { signal } = new AbortController()
    await rekeyStore(place(oldKey), { newKeyFile: newKey, manifests: [config.manifest], signal })
    expect(await verifyManifest(config.manifest, place(newKey))).toMatchObject({ samples: 10, missing: [] })
    const root = path.join(partFolder(config.manifest, 1), 'manifest.json')
    await writeFile(root, (await readFile(root, 'utf8')).replace('"complete"', '"open"'))
    await refusal(verifyManifest(config.manifest, place(newKey))).toMatchObject({
      code: 'STORE_AUTH',
      details: { file: root },
    })
  })
})
