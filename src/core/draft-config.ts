import { z } from 'zod'
import type { TargetShape } from './target-contract.ts'

/** The draft's `config.json`: transformers' names, because serving engines read the same file. */
export const DraftConfig = z.looseObject({
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
  bos_token_id: z.number().int().nullish(),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
})
export type DraftConfig = z.infer<typeof DraftConfig>

/** `draft.config: auto`: one layer of the target's own sizes. */
export function draftConfigFor(target: TargetShape, draftVocabSize: number): DraftConfig {
  return DraftConfig.parse({
    hidden_size: target.hiddenSize,
    intermediate_size: target.intermediateSize,
    num_attention_heads: target.numHeads,
    num_key_value_heads: target.numKvHeads,
    head_dim: target.headDim,
    vocab_size: target.vocabSize,
    draft_vocab_size: Math.min(draftVocabSize, target.vocabSize),
    rms_norm_eps: target.rmsNormEps,
    rope_theta: target.ropeTheta,
    max_position_embeddings: target.maxPositions,
    bos_token_id: target.bosId,
    eos_token_id: target.eosIds.length === 1 ? target.eosIds[0] : target.eosIds,
  })
}
