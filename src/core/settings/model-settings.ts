import { z } from 'zod'
import { Count } from './count.ts'

// Sections of the config that cross the bridge whole. python/draftbridge/settings/model_settings.py has a dataclass with
// the same fields for each; a test compares the two.

/** `target.vllm` */
export const VllmSettings = z.strictObject({
  /** The interpreter of an environment that has vLLM. */
  python: z.string().nullable().default(null),
  /** Engine arguments by vLLM's own names, such as `tensor_parallel_size`. */
  args: z.record(z.string(), z.json()).default({}),
  /** The folder for files that wait to be stored. Null: that of temporary files. */
  scratch: z.string().nullable().default(null),
})
export type VllmSettings = z.output<typeof VllmSettings>

/** `target` */
export const TargetSettings = z.strictObject({
  model: z.string().min(1),
  dtype: z.enum(['float32', 'bfloat16', 'float16']).default('bfloat16'),
  tokenizer: z.string().nullable().default(null),
  /** What runs the target in `capture`: transformers in this process, or vLLM in one of its own. */
  engine: z.enum(['transformers', 'vllm']).default('transformers'),
  vllm: VllmSettings.prefault({}),
  /** GPUs that a capture lays the target over: one, or all that the process sees, for a target that one cannot hold. */
  devices: z.enum(['one', 'all']).default('one'),
})

/** `data` */
export const DataSettings = z.strictObject({
  /** Files and patterns of files. */
  conversations: z
    .union([z.string(), z.array(z.string()).min(1)])
    .nullable()
    .default(null),
  maxLength: z.number().int().min(2).default(2048),
  limit: Count.nullable().default(null),
  /** Which answers of a conversation are trained: see docs/conversations.md. */
  turns: z.enum(['all', 'last', 'as-rendered']).default('all'),
  /** The date that a chat template writes: the same on every day, so that a capture can be repeated. */
  today: z.iso.date().default('2024-07-26'),
  /** A bad sample is skipped and counted, or ends the run. */
  onBad: z.enum(['skip', 'stop']).default('skip'),
  /** The run ends when more than this share of the inputs, and more than one, are bad. */
  maxBadShare: z.number().min(0).max(1).default(0.01),
  /** At most this many padded tokens in one forward pass of the target. `auto`: by the size of the target. */
  batchTokens: z.union([Count, z.literal('auto')]).default('auto'),
  /** Store the target's likeliest token and logsumexp with each token (8 bytes): training then skips most of its head. */
  teacher: z.boolean().default(false),
})

/** `draft` */
export const DraftSettings = z.strictObject({
  /** A name of the registry in src/drafts. */
  architecture: z.string().default('eagle3'),
  config: z.string().default('auto'),
  vocabSize: Count.default(32000),
  /** How the draft's own head starts: as the reference does (normal, std 0.02), or from the target head's rows. */
  init: z.enum(['normal', 'target-head']).default('normal'),
  /** EAGLE-3.1: an RMSNorm for each auxiliary state before they are fused. A file in `config` decides for itself. */
  fcNorm: z.boolean().default(false),
  /** EAGLE-3.1: the next step of the draft starts from its normed output. */
  normOutput: z.boolean().default(false),
})

/** `eval` */
export const EvalSettings = z.strictObject({
  prompts: z.string().nullable().default(null),
  maxNewTokens: Count.default(128),
  steps: z.array(z.number().int().min(1).max(16)).min(1).default([3, 5, 7]),
  dtype: z.enum(['fp32', 'bf16']).default('fp32'),
  limit: Count.nullable().default(null),
})
