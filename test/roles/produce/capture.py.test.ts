import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { readRefManifest, readTokenCounts } from '../../../src/refs/manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { finished, listing, producing, stateOf, stoppingAfter } from '../../support/producing.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { trainingInputs, watched } from '../../support/training.ts'

checkHandlesAfterEach()

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
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
  const config = producing(inputs, dir, { data: { conversations: file, maxLength: 50, batchTokens: 120 } })
  return { config, file, store: path.join(dir, 'store') }
}

describe('capture', () => {
  it('publishes features and masks of all forms of conversation', async () => {
    const { config } = await captureScene()
    const context = watched()
    await produce(config, context)
    const { refs, contract, countsFiles } = await readRefManifest({ dir: config.manifest })
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
    const counts = await readTokenCounts(countsFiles)
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
    await expect(produce(config, watched())).rejects.toThrow('changed since this capture was complete')
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
        places: [`${file}:5: messages[0].content: nothing, where a text should be`],
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
