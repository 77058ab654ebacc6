import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { RunConfig } from '../../../src/config/schema.ts'
import type { Part } from '../../../src/core/part.ts'
import { readManifestSoFar, readRefManifest, readTokenCounts } from '../../../src/refs/manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { produceHere } from '../../../src/roles/produce/produce-here.ts'
import { producing, stoppingAfter } from '../../support/producing.ts'
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

/** The events of a producer, without what is another one at each start. */
function summed({ seen }: Watched): unknown[] {
  return seen.flatMap((body) => {
    if (body.event === 'produce.progress') return []
    if (body.event !== 'produce.finished') return [body]
    const { seconds: _, manifest: _manifest, ...figures } = body
    return [figures]
  })
}
