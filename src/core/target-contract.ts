import { z } from 'zod'

/** The sizes of a target model that a draft has to mirror. */
export const TargetShape = z.strictObject({
  hiddenSize: z.number().int().positive(),
  intermediateSize: z.number().int().positive(),
  numLayers: z.number().int().positive(),
  numHeads: z.number().int().positive(),
  numKvHeads: z.number().int().positive(),
  headDim: z.number().int().positive(),
  vocabSize: z.number().int().positive(),
  rmsNormEps: z.number().positive(),
  ropeTheta: z.number().positive(),
  maxPositions: z.number().int().positive(),
  bosId: z.number().int().nullable(),
  eosIds: z.array(z.number().int()),
})
export type TargetShape = z.infer<typeof TargetShape>

/**
 * What rebuilds the target's logits from its last hidden state. Only what is not the usual is named: logits are
 * `lm_head @ h`, unscaled, of a head that is tied where config.json says so, after an RMSNorm.
 */
const LogitRule = z.strictObject({
  /** Multiplies the logits. */
  scale: z.number().optional(),
  /** Then the logits become `cap * tanh(logits / cap)`. */
  cap: z.number().positive().optional(),
  /** The head adds a bias before the scale. */
  bias: z.boolean().optional(),
  /** Whether the head is the embedding, where config.json says otherwise or nothing. */
  tied: z.boolean().optional(),
  /** Kind of the target's last norm. `rms-plus-one`: an RMSNorm that multiplies by its weight plus one. */
  norm: z.enum(['rms', 'rms-plus-one', 'layer', 'other']).optional(),
})

/**
 * How features were made. Layer ids name a layer's OUTPUT (0-based): id i is transformers' `hidden_states[i + 1]`.
 * `finalNorm: post` means that `hidden_state` has been through the target's last norm, so logits = lm_head @ h,
 * unless `logits` says more.
 */
export const CaptureContract = z.strictObject({
  target: z.string(),
  targetHash: z.string(),
  shape: TargetShape,
  /** Chosen by the draft architecture that the features were made for (src/drafts), in the order of the features. */
  auxLayers: z.array(z.number().int().nonnegative()),
  layerConvention: z.literal('output'),
  finalNorm: z.enum(['post', 'pre']),
  /** Of the stored states. */
  dtype: z.enum(['float32', 'bfloat16', 'float16']),
  /** What the target ran in: float32 on a CPU, rounded once when stored. Unknown for features from files. */
  computeDtype: z.enum(['float32', 'bfloat16', 'float16']).optional(),
  /** The engine and its version, where it is not transformers in this program's own process. */
  engine: z.string().optional(),
  maskRule: z.enum(['assistant-tokens', 'from-file']),
  tokenizerHash: z.string().nullable(),
  templateHash: z.string().nullable(),
  /** The date that the chat template wrote; absent where it writes none. */
  templateDate: z.iso.date().optional(),
  /** Missing in contracts of the usual target, and in those of older versions. */
  logits: LogitRule.optional(),
})
export type CaptureContract = z.infer<typeof CaptureContract>
