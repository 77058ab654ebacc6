import { z } from 'zod'
import type { DraftSettings } from '../../core/settings/model-settings.ts'
import type { TargetShape } from '../../core/target-contract.ts'

/** Norms of other EAGLE3 variants. An engine that reads one as true runs another model than the one trained here. */
const NOT_OURS = 'this draft has no such norm; set it to false (fc_norm and norm_output can be switched on)'

/** An EAGLE3 draft's `config.json`: transformers' names, because serving engines read the same file. */
export const Eagle3Config = z
  .object({
    architectures: z.array(z.string()).default(['LlamaForCausalLMEagle3']),
    model_type: z.string().default('llama'),
    hidden_size: z.number().int().positive(),
    intermediate_size: z.number().int().positive(),
    num_attention_heads: z.number().int().positive(),
    num_key_value_heads: z.number().int().positive(),
    head_dim: z.number().int().positive().optional(),
    num_hidden_layers: z.literal(1).default(1),
    vocab_size: z.number().int().positive(),
    draft_vocab_size: z.number().int().positive(),
    rms_norm_eps: z.number().positive().default(1e-6),
    rope_theta: z.number().positive().default(10000),
    max_position_embeddings: z.number().int().positive(),
    tie_word_embeddings: z.literal(false).default(false),
    hidden_act: z.literal('silu').default('silu'),
    // No default: a run's identity is a hash of this object, and equal drafts must keep equal hashes.
    /** EAGLE-3.1: each auxiliary state has an RMSNorm of its own before they are fused. */
    fc_norm: z.boolean().optional(),
    /** EAGLE-3.1: the next step starts from the normed output, which the head reads too. */
    norm_output: z.boolean().optional(),
    norm_before_fc: z.literal(false, NOT_OURS).nullish(),
    norm_before_residual: z.literal(false, NOT_OURS).nullish(),
    bos_token_id: z.number().int().nullish(),
    eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  })
  .catchall(z.json())
export type Eagle3Config = z.infer<typeof Eagle3Config>

/** `draft.config: auto`: one layer of the target's own sizes. A switch that is off is not named. */
export function eagle3ConfigFor(target: TargetShape, settings: z.output<typeof DraftSettings>): Eagle3Config {
  return Eagle3Config.parse({
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
