// Which draft a config names, and that a draft without switches is, to a resumed run, what it always was.
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { DraftSettings } from '../../../src/core/settings/model-settings.ts'
import { TargetShape } from '../../../src/core/target-contract.ts'
import { eagle3 } from '../../../src/drafts/eagle3/eagle3.ts'
import { Eagle3Config, eagle3ConfigFor } from '../../../src/drafts/eagle3/eagle3-config.ts'
import { auxLayersOf, readDraftConfig, resolveDraftConfig } from '../../../src/roles/train/draft-config-file.ts'
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
const features = { auxLayers: [1, 3, 4], longest: 64 }
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
    const draft = await resolveDraftConfig(settings({}), shape, features)
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
    const plain = await resolveDraftConfig(settings({}), shape, features)
    const draft = await resolveDraftConfig(settings(norms), shape, features)
    expect(draft).toEqual({ ...plain, ...expected })
  })
})

describe('a file', () => {
  it('decides for itself', async () => {
    const config = await fileOf({ fc_norm: true, norm_output: true })
    const draft = await resolveDraftConfig(settings({ config }), shape, features)
    expect([draft['fc_norm'], draft['norm_output']]).toEqual([true, true])
    await resolveDraftConfig(settings({ config, fcNorm: true, normOutput: true }), shape, features)
  })

  it.each([
    ['draft.fcNorm', { fcNorm: true }, { norm_output: true }, 'true; the file has fc_norm: nothing'],
    ['draft.normOutput', { normOutput: true }, { norm_output: false }, 'true; the file has norm_output: false'],
  ])('that leaves off what %s switches on is CONFIG_INVALID', async (field, norms, change, found) => {
    const config = await fileOf(change)
    await expect(resolveDraftConfig(settings({ config, ...norms }), shape, features)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file: config, field, found },
    })
  })

  it.each([
    ['architectures.0', { architectures: ['LlamaForCausalLM'] }],
    ['attention_bias', { attention_bias: true }],
    ['attention_dropout', { attention_dropout: 0.1 }],
    ['eagle_config', { eagle_config: { keep_norms: true } }],
    ['eagle_config.use_aux_hidden_state', { eagle_config: { use_aux_hidden_state: false } }],
    ['eagle_config.eagle_aux_hidden_state_layer_ids', { eagle_config: { eagle_aux_hidden_state_layer_ids: [1, 2] } }],
    ['final_logit_softcapping', { final_logit_softcapping: 30 }],
    ['head_dim', { head_dim: 3 }],
    ['head_dim', { head_dim: undefined, num_attention_heads: 3, num_key_value_heads: 3 }],
    ['hidden_act', { hidden_act: 'gelu' }],
    ['layer_types.0', { layer_types: ['sliding_attention'] }],
    ['mlp_bias', { mlp_bias: true }],
    ['model_type', { model_type: 'qwen3' }],
    ['num_hidden_layers', { num_hidden_layers: 2 }],
    ['num_key_value_heads', { num_attention_heads: 4, num_key_value_heads: 3, head_dim: 2 }],
    ['partial_rotary_factor', { partial_rotary_factor: 0.5 }],
    ['quantization_config', { quantization_config: { quant_method: 'fp8' } }],
    ['rope_parameters.rope_type', { rope_parameters: { rope_type: 'yarn', rope_theta: 10_000 } }],
    ['rope_scaling.type', { rope_scaling: { type: 'linear' } }],
    ['rope_scaling', { rope_scaling: { rope_type: 'default', factor: 2 } }],
    ['rope_theta', { rope_parameters: { rope_type: 'default', rope_theta: 500_000 } }],
    ['sliding_window', { sliding_window: 4096 }],
    ['tie_word_embeddings', { tie_word_embeddings: true }],
    ['a_field_of_tomorrow', { a_field_of_tomorrow: 1 }],
  ])('with a %s that this draft cannot honour is CONFIG_INVALID and named: %j', async (field, change) => {
    const file = await fileOf(change)
    await expect(readDraftConfig(file, eagle3)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file, field },
    })
  })

  it('may have fields that change nothing', async () => {
    const change = {
      ...{ transformers_version: '5.0.0', torch_dtype: 'bfloat16', use_cache: true, pad_token_id: 0 },
      ...{ rope_scaling: null, attention_bias: false, sliding_window: null, quantization_config: null },
      rope_parameters: { rope_type: 'default', rope_theta: plainConfig.rope_theta },
    }
    const config = await fileOf(change)
    expect(await resolveDraftConfig(settings({ config }), shape, features)).toMatchObject(change)
  })

  it('with fewer positions than the longest sample is CONFIG_INVALID', async () => {
    const config = await fileOf({ max_position_embeddings: 63 })
    await expect(resolveDraftConfig(settings({ config }), shape, features)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file: config, field: 'max_position_embeddings', found: expect.stringContaining('64 tokens') },
    })
  })

  it('for another width of the target is CONTRACT_MISMATCH', async () => {
    const config = await fileOf({ target_hidden_size: 16 })
    await expect(resolveDraftConfig(settings({ config }), shape, features)).rejects.toMatchObject({
      code: 'CONTRACT_MISMATCH',
      details: { field: 'target_hidden_size' },
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

describe('the layers of the target', () => {
  const outputs = (ids: number[]) => ({ eagle_config: { eagle_aux_hidden_state_layer_ids: ids } })
  const inputs = (ids: number[]) => ({ eagle_aux_hidden_state_layer_ids: ids })
  const usual = { auxLayers: [1, 3, 4], longest: 8 }
  const others = { auxLayers: [0, 3, 5], longest: 8 }

  it.each([
    [{}, [1, 3, 4]],
    [outputs([0, 3, 5]), [0, 3, 5]],
    [inputs([1, 4, 6]), [0, 3, 5]],
    [{ ...outputs([0, 3, 5]), ...inputs([1, 4, 6]) }, [0, 3, 5]],
  ])('of a file with %j are the outputs of %j', async (change, expected) => {
    const config = await fileOf(change)
    expect(await auxLayersOf(settings({ config }), shape)).toEqual(expected)
  })

  it.each([
    ['eagle_config.eagle_aux_hidden_state_layer_ids', outputs([0, 3, 8])],
    ['eagle_aux_hidden_state_layer_ids', inputs([0, 3, 5])],
    [
      'eagle_aux_hidden_state_layer_ids, eagle_config.eagle_aux_hidden_state_layer_ids',
      { ...outputs([0, 3, 5]), ...inputs([0, 3, 5]) },
    ],
  ])('that a target does not have, or that contradict each other, are CONFIG_INVALID: %s', async (field, change) => {
    const config = await fileOf(change)
    await expect(auxLayersOf(settings({ config }), shape)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file: config, field },
    })
  })

  it('must be those of the features', async () => {
    const named = await fileOf(outputs([0, 3, 5]))
    const unnamed = await fileOf({ pad_token_id: 3 })
    await expect(resolveDraftConfig(settings({ config: named }), shape, others)).resolves.toMatchObject(
      outputs([0, 3, 5]),
    )
    await expect(resolveDraftConfig(settings({ config: unnamed }), shape, usual)).resolves.toBeDefined()
    for (const [config, features] of [
      [named, usual],
      [unnamed, others],
    ] as const) {
      await expect(resolveDraftConfig(settings({ config }), shape, features)).rejects.toMatchObject({
        code: 'CONTRACT_MISMATCH',
        details: { field: 'eagle_config.eagle_aux_hidden_state_layer_ids' },
      })
    }
  })

  it('stand in the config of an automatic draft where they are not the usual ones', async () => {
    expect(await resolveDraftConfig(settings({}), shape, usual)).not.toHaveProperty('eagle_config')
    expect(await resolveDraftConfig(settings({}), shape, others)).toMatchObject(outputs([0, 3, 5]))
  })
})
