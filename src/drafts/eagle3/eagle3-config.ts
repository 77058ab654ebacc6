import { z } from 'zod'
import type { DraftSettings } from '../../core/settings/model-settings.ts'
import type { TargetShape } from '../../core/target-contract.ts'
import { draftFields, unknownFields } from './draft-fields.ts'

/** An EAGLE3 draft's `config.json`: transformers' names, because serving engines read the same file. */
export const Eagle3Fields = z
  .object({
    architectures: z
      .array(z.literal('LlamaForCausalLMEagle3', 'this draft is LlamaForCausalLMEagle3 to an engine'))
      .length(1)
      .default(['LlamaForCausalLMEagle3']),
    model_type: z
      .literal('llama', 'this draft is built as a llama layer, without the parts of others')
      .default('llama'),
    hidden_size: z.number().int().positive(),
    intermediate_size: z.number().int().positive(),
    num_attention_heads: z.number().int().positive(),
    num_key_value_heads: z.number().int().positive(),
    head_dim: z.number().int().positive().multipleOf(2, 'an odd head cannot be rotated').optional(),
    num_hidden_layers: z.literal(1, 'this draft has one layer').default(1),
    vocab_size: z.number().int().positive(),
    draft_vocab_size: z.number().int().positive(),
    rms_norm_eps: z.number().positive().default(1e-6),
    rope_theta: z.number().positive().default(10000),
    max_position_embeddings: z.number().int().positive(),
    tie_word_embeddings: z.literal(false, 'the head of this draft is its own; set it to false').default(false),
    hidden_act: z.literal('silu', 'this draft computes silu').default('silu'),
    // No default: a run's identity is a hash of this object, and equal drafts must keep equal hashes.
    /** EAGLE-3.1: each auxiliary state has an RMSNorm of its own before they are fused. */
    fc_norm: z.boolean().optional(),
    /** EAGLE-3.1: the next step starts from the normed output, which the head reads too. */
    norm_output: z.boolean().optional(),
    bos_token_id: z.number().int().nullish(),
    eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
    ...draftFields,
  })
  .catchall(z.json())
export type Eagle3Config = z.infer<typeof Eagle3Fields>

/** A given `config.json`: every field of it is honoured, or refused by name. */
export const Eagle3Config = z.looseObject({}).superRefine(refuseContradictions).pipe(Eagle3Fields)

function refuseContradictions(raw: Readonly<Record<string, unknown>>, context: z.RefinementCtx): void {
  const refuse = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message })
  for (const field of unknownFields(raw, Object.keys(Eagle3Fields.shape))) {
    refuse(field, `${JSON.stringify(raw[field])}; this draft has no such part, so remove the field`)
  }
  const rope = z.looseObject({ rope_theta: z.number() }).safeParse(raw['rope_parameters'] ?? raw['rope_scaling'])
  const theta = raw['rope_theta']
  if (rope.success && typeof theta === 'number' && theta !== rope.data.rope_theta) {
    refuse('rope_theta', `${theta}; the nested rope_theta is ${rope.data.rope_theta}`)
  }
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups } = raw
  if (typeof heads !== 'number') return
  if (typeof groups === 'number' && heads % groups !== 0) refuse('num_key_value_heads', `${groups}, for ${heads} heads`)
  if (raw['head_dim'] == null && typeof hidden === 'number' && hidden % (2 * heads) !== 0) {
    refuse('head_dim', `nothing, and ${heads} heads do not share ${hidden} evenly; name it`)
  }
}

/** `draft.config: auto`: one layer of the target's own sizes. A switch that is off is not named. */
export function eagle3ConfigFor(target: TargetShape, settings: z.output<typeof DraftSettings>): Eagle3Config {
  return Eagle3Fields.parse({
    hidden_size: target.hiddenSize,
    intermediate_size: target.intermediateSize,
    num_attention_heads: target.numHeads,
    num_key_value_heads: target.numKvHeads,
    head_dim: target.headDim,
    vocab_size: target.vocabSize,
    draft_vocab_size: Math.min(settings.vocabSize, target.vocabSize),
    rms_norm_eps: target.rmsNormEps,
    rope_theta: target.ropeTheta,
    max_position_embeddings: target.maxPositions,
    bos_token_id: target.bosId,
    eos_token_id: target.eosIds.length === 1 ? target.eosIds[0] : target.eosIds,
    ...(settings.fcNorm ? { fc_norm: true } : {}),
    ...(settings.normOutput ? { norm_output: true } : {}),
  })
}
