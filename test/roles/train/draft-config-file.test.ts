// Which draft a config names, and that a draft without switches is, to a resumed run, what it always was.
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { DraftConfig, draftConfigFor } from '../../../src/core/draft-config.ts'
import { CaptureContract, TargetShape } from '../../../src/core/target-contract.ts'
import { readDraftConfig, resolveDraftConfig } from '../../../src/roles/train/draft-config-file.ts'
import { canonical } from '../../../src/train/checkpoints/checkpoint-record.ts'
import { tempDir } from '../../support/temp-dir.ts'

const shape = TargetShape.parse({
  hiddenSize: 8,
  intermediateSize: 16,
  numLayers: 8,
  numHeads: 2,
  numKvHeads: 1,
  headDim: 4,
  vocabSize: 100,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  maxPositions: 64,
  bosId: 1,
  eosIds: [2],
})
const contract = CaptureContract.parse({
  target: 'tiny',
  targetHash: 'xxh3_64:0',
  shape,
  auxLayers: [1, 3, 4],
  layerConvention: 'output',
  finalNorm: 'post',
  dtype: 'float32',
  maskRule: 'from-file',
  tokenizerHash: null,
  templateHash: null,
})
const off = { fcNorm: false, normOutput: false }
/** sha256 of the canonical draft of `shape` with 32 tokens, as it stands in checkpoints made before the switches. */
const IDENTITY = '44b004178ad0a1efe05f21d1d6f6b78d3ea68d656c3799b1165b1613b35c1c9d'

let dir: string
beforeAll(async () => {
  dir = await tempDir()
})

async function fileOf(change: object): Promise<string> {
  const file = path.join(dir, `${JSON.stringify(change).replaceAll(/\W/g, '')}.json`)
  await writeFile(file, JSON.stringify({ ...draftConfigFor(shape, 32, off), ...change }))
  return file
}

describe('auto', () => {
  it('with both switches off is the draft that it was without them', async () => {
    const draft = await resolveDraftConfig({ config: 'auto', vocabSize: 32, ...off }, contract)
    expect(createHash('sha256').update(canonical(draft)).digest('hex')).toBe(IDENTITY)
  })

  it.each([
    [{ fcNorm: true, normOutput: false }, { fc_norm: true }],
    [{ fcNorm: false, normOutput: true }, { norm_output: true }],
    [
      { fcNorm: true, normOutput: true },
      { fc_norm: true, norm_output: true },
    ],
  ])('with %j adds the names that engines read', async (norms, expected) => {
    const plain = await resolveDraftConfig({ config: 'auto', vocabSize: 32, ...off }, contract)
    const draft = await resolveDraftConfig({ config: 'auto', vocabSize: 32, ...norms }, contract)
    expect(draft).toEqual({ ...plain, ...expected })
  })
})

describe('a file', () => {
  it('decides for itself', async () => {
    const config = await fileOf({ fc_norm: true, norm_output: true })
    const draft = await resolveDraftConfig({ config, vocabSize: 32, ...off }, contract)
    expect([draft.fc_norm, draft.norm_output]).toEqual([true, true])
    await resolveDraftConfig({ config, vocabSize: 32, fcNorm: true, normOutput: true }, contract)
  })

  it.each([
    ['draft.fcNorm', { fcNorm: true }, { norm_output: true }, 'true; the file has fc_norm: nothing'],
    ['draft.normOutput', { normOutput: true }, { norm_output: false }, 'true; the file has norm_output: false'],
  ])('that leaves off what %s switches on is CONFIG_INVALID', async (field, norms, change, found) => {
    const config = await fileOf(change)
    await expect(resolveDraftConfig({ config, vocabSize: 32, ...off, ...norms }, contract)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file: config, field, found },
    })
  })

  it.each(['norm_before_fc', 'norm_before_residual'])('that asks for %s is CONFIG_INVALID', async (field) => {
    const file = await fileOf({ [field]: true })
    await expect(readDraftConfig(file)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file, field, found: expect.stringContaining('this draft has no such norm') },
    })
    expect(DraftConfig.safeParse({ ...draftConfigFor(shape, 32, off), [field]: false }).success).toBe(true)
  })
})
