import { z } from 'zod'

/**
 * Fields of a `config.json` that do not change what the draft computes, or that checkpoints write anew from the weights.
 */
const NEUTRAL = [
  '_name_or_path',
  '_attn_implementation_autoset',
  'attn_implementation',
  'bos_token_id',
  'dtype',
  'eos_token_id',
  'initializer_range',
  'max_window_layers',
  'pad_token_id',
  'torch_dtype',
  'transformers_version',
  'use_cache',
] as const

/** A field with one right value, which may also be null or left out. */
const only = <T extends string | number | boolean>(value: T, reason: string) =>
  z.literal(value, { error: ({ input }) => `${JSON.stringify(input)}; ${reason}` }).nullish()

const noNorm = 'this draft has no such norm; set it to false (fc_norm and norm_output can be switched on)'
const noBias = 'this draft has no biases; set it to false'
const noWindow = 'this draft attends to all earlier positions; leave the field out'
const noScale = 'this draft scales nothing; set it to 1'
const threeStates = 'this draft reads three states of the target'

/** Names the fields of a nested object that are not in its shape. */
const unknownKeys =
  (reason: string) =>
  (issue: z.core.$ZodRawIssue): string | undefined =>
    issue.code === 'unrecognized_keys' ? `${issue.keys.join(', ')}; ${reason}` : undefined

const PlainRope = z
  .strictObject(
    {
      rope_type: only('default', 'this draft has no rope scaling; use the type default'),
      type: only('default', 'this draft has no rope scaling; use the type default'),
      rope_theta: z.number().positive().optional(),
      partial_rotary_factor: only(1, 'this draft rotates whole heads; set it to 1'),
    },
    { error: unknownKeys('this draft has no rope scaling') },
  )
  .nullish()

const LayerIds = z.array(z.number().int().nonnegative()).length(3, threeStates).nullish()

/** Fields of other EAGLE3 drafts that this one honours, or could not honour with any other value. */
export const draftFields = {
  norm_before_fc: only(false, noNorm),
  norm_before_residual: only(false, noNorm),
  attention_bias: only(false, noBias),
  qkv_bias: only(false, noBias),
  mlp_bias: only(false, noBias),
  rope_scaling: PlainRope,
  rope_parameters: PlainRope,
  partial_rotary_factor: only(1, 'this draft rotates whole heads; set it to 1'),
  sliding_window: z.null({ error: ({ input }) => `${JSON.stringify(input)}; ${noWindow}` }).optional(),
  use_sliding_window: only(false, noWindow),
  layer_types: z.array(z.literal('full_attention', noWindow)).length(1, 'this draft has one layer').nullish(),
  attention_dropout: only(0, 'this draft trains without dropout; set it to 0'),
  pretraining_tp: only(1, 'set it to 1'),
  logit_scale: only(1, noScale),
  embed_requires_grad: only(false, "this draft uses the target's embedding as it is; set it to false"),
  target_hidden_size: z.number().int().positive().nullish(),
  num_aux_hidden_states: only(3, threeStates),
  use_aux_hidden_state: only(true, `${threeStates}; set it to true`),
  /** Ids of layers whose INPUT is read, as vLLM takes them. */
  eagle_aux_hidden_state_layer_ids: LayerIds,
  eagle_config: z
    .strictObject(
      {
        use_aux_hidden_state: only(true, `${threeStates}; set it to true`),
        /** Ids of layers whose OUTPUT is read, as SGLang takes them. */
        eagle_aux_hidden_state_layer_ids: LayerIds,
      },
      { error: unknownKeys('no field that this draft knows, so remove it') },
    )
    .nullish(),
}

/** The names in `raw` that are in neither list. Training would ignore such a field, and checkpoints would promise it. */
export function unknownFields(raw: Readonly<Record<string, unknown>>, known: readonly string[]): string[] {
  const all = new Set<string>([...known, ...NEUTRAL])
  return Object.keys(raw).filter((name) => raw[name] !== null && !all.has(name))
}
