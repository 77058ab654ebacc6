import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RunConfig } from '../../src/config/schema.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { expectNoHandles } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { curve, trainingConfig, trainingInputs, watched } from '../support/training.ts'

let dir: string
beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir, 1)
  const talks = Array.from({ length: 8 }, (_, at) => ({
    id: `t${at}`,
    input_ids: Array.from({ length: 12 + at }, (_, token) => 3 + ((7 * token + 5 * at) % 250)),
    loss_start: 4,
  }))
  await writeFile(path.join(dir, 'talks.jsonl'), talks.map((talk) => `${JSON.stringify(talk)}\n`).join(''))
})
afterAll(expectNoHandles)

function config(name: string, storedTeacher: boolean): RunConfig {
  const base = trainingConfig(dir, { name, ranks: 1 })
  return RunConfig.parse({
    ...base,
    data: { ...base.data, conversations: path.join(dir, 'talks.jsonl'), teacher: true },
    features: { source: 'capture' },
    train: { ...base.train, storedTeacher },
  })
}

describe('data.teacher', () => {
  it('stores what the target says of each token, and training with it gives the losses of training without', async () => {
    await produce(config('producer', true), watched())
    const { refs } = await readRefManifest({ dir: config('producer', true).manifest })
    const [n] = [refs.at(0).numTokens]
    expect(refs.at(0).features.slice(4)).toEqual([
      { name: 'target_token', shape: [n], dtype: 'int32' },
      { name: 'target_logsumexp', shape: [n], dtype: 'float32' },
    ])
    const [stored, made] = [watched(), watched()]
    await consume(config('stored', true), stored)
    await consume(config('made', false), made)
    const losses = [stored, made].map((each) => curve(each).map(({ loss }) => loss ?? Number.NaN))
    expect(losses[0]).toHaveLength(6)
    for (const [at, loss] of (losses[0] ?? []).entries()) expect(loss).toBeCloseTo(losses[1]?.[at] ?? 0, 5)
  })
})
