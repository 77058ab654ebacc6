// Which draft a config names, and that a draft without switches is, to a resumed run, what it always was.
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { DraftSettings } from '../../../src/core/settings/model-settings.ts'
import { TargetShape } from '../../../src/core/target-contract.ts'
import { eagle3 } from '../../../src/drafts/eagle3/eagle3.ts'
import { Eagle3Config, eagle3ConfigFor } from '../../../src/drafts/eagle3/eagle3-config.ts'
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
const settings = (more: object) => DraftSettings.parse({ vocabSize: 32, ...more })
const plainConfig = eagle3ConfigFor(shape, settings({}))
/** sha256 of the canonical draft of `shape` with 32 tokens, as it stands in checkpoints made before the switches. */
const IDENTITY = '44b004178ad0a1efe05f21d1d6f6b78d3ea68d656c3799b1165b1613b35c1c9d'

let dir: string
beforeAll(async () => {
  dir = await tempDir()
})

async function fileOf(change: object): Promise<string> {
  const file = path.join(dir, `${JSON.stringify(change).replaceAll(/\W/g, '')}.json`)
  await writeFile(file, JSON.stringify({ ...plainConfig, ...change }))
  return file
}

describe('auto', () => {
  it('with both switches off is the draft that it was without them', async () => {
    const draft = await resolveDraftConfig(settings({}), shape)
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
    const plain = await resolveDraftConfig(settings({}), shape)
    const draft = await resolveDraftConfig(settings(norms), shape)
    expect(draft).toEqual({ ...plain, ...expected })
  })
})

describe('a file', () => {
  it('decides for itself', async () => {
    const config = await fileOf({ fc_norm: true, norm_output: true })
    const draft = await resolveDraftConfig(settings({ config }), shape)
    expect([draft['fc_norm'], draft['norm_output']]).toEqual([true, true])
    await resolveDraftConfig(settings({ config, fcNorm: true, normOutput: true }), shape)
  })

  it.each([
    ['draft.fcNorm', { fcNorm: true }, { norm_output: true }, 'true; the file has fc_norm: nothing'],
    ['draft.normOutput', { normOutput: true }, { norm_output: false }, 'true; the file has norm_output: false'],
  ])('that leaves off what %s switches on is CONFIG_INVALID', async (field, norms, change, found) => {
    const config = await fileOf(change)
    await expect(resolveDraftConfig(settings({ config, ...norms }), shape)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file: config, field, found },
    })
  })

  it.each(['norm_before_fc', 'norm_before_residual'])('that asks for %s is CONFIG_INVALID', async (field) => {
    const file = await fileOf({ [field]: true })
    await expect(readDraftConfig(file, eagle3)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file, field, found: expect.stringContaining('this draft has no such norm') },
    })
    expect(Eagle3Config.safeParse({ ...plainConfig, [field]: false }).success).toBe(true)
  })
})
