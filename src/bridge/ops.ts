import { z } from 'zod'
import { DraftSettings, EvalSettings, TargetSettings } from '../core/settings/model-settings.ts'
import { TargetShape } from '../core/target-contract.ts'
import { captureOps } from './capture-ops.ts'
import { generateOps } from './generate-ops.ts'
import { ingestOps } from './ingest-ops.ts'
import { keyOps } from './key-ops.ts'
import { objectOps } from './object-ops.ts'
import { Count, Handle, Int, Nothing, op, Session } from './op.ts'
import { reportOps } from './report-ops.ts'
import { textOps } from './text-ops.ts'
import { trainOps } from './train-ops.ts'
import { vllmOps } from './vllm-ops.ts'

export type { Lane, Minted } from './op.ts'
export type { Validated, WatchedStep } from './report-ops.ts'
export type { TrainMetrics } from './train-ops.ts'

const Decoded = z.strictObject({
  outputIds: z.array(Count),
  /** Tokens from verify passes, without the first token, which the prefill produces. */
  tokens: Count,
  passes: Count,
  /** accepted[i]: passes that accepted draft position i and all positions before it. */
  accepted: z.array(Count),
  proposed: z.array(Count),
  seconds: z.number(),
})
export type Decoded = z.output<typeof Decoded>

/** All ops of Python. The registry of python/draftbridge has the same names and lanes; a test compares them. */
export const ops = {
  'host.info': op(
    'io',
    Nothing,
    z.strictObject({
      python: z.string(),
      executable: z.string(),
      torch: z.string(),
      transformers: z.string().nullable(),
      cudaDevices: Count,
      threads: Count,
    }),
  ),
  'host.live': op('io', Nothing, z.strictObject({ handles: Count })),
  'handle.free': op('io', Session, Nothing),
  'handles.free': op('io', z.strictObject({ handles: z.array(Handle) }), Nothing),

  ...objectOps,
  ...keyOps,
  ...ingestOps,
  ...generateOps,

  /** The target's hash alone. Imports less than `target.describe`, so it is faster on the first call. */
  'target.identity': op(
    'io',
    z.strictObject({ model: z.string(), tokenizer: z.string().nullable() }),
    /** `templateHash`: of the chat template; null where only the tokenizer can tell. */
    z.strictObject({ hash: z.string(), templateHash: z.string().nullable() }),
  ),
  /** While the handle lives, a target's GGUF file is read once and not by each op anew. */
  'target.reads': op('io', Nothing, Session),
  'target.describe': op(
    'io',
    z.strictObject({ model: z.string() }),
    z.strictObject({ shape: TargetShape, hash: z.string() }),
  ),
  ...captureOps,
  ...vllmOps,
  ...textOps,
  ...trainOps,
  ...reportOps,

  'eval.open': op(
    'engine',
    z.strictObject({
      target: TargetSettings,
      draft: DraftSettings,
      eval: EvalSettings,
      /** A checkpoint or an exported folder. */
      draftDir: z.string(),
      /** The layers that the draft was trained on. */
      auxLayers: z.array(Count),
      threads: Count,
    }),
    Session,
  ),
  'eval.encode': op(
    'engine',
    /** `conversation`: `{ messages, tools? }` as JSON text. `today`: the date that its template writes. */
    z.strictObject({ session: Handle, conversation: z.string(), today: z.string() }),
    z.strictObject({ inputIds: z.array(Count) }),
  ),
  'eval.decode': op(
    'engine',
    z.strictObject({
      session: Handle,
      inputIds: z.array(Count).min(1),
      maxNewTokens: Int.positive(),
      /** Draft tokens per verify pass; 0 is plain greedy decoding. */
      steps: Count,
    }),
    Decoded,
  ),
} as const

export type OpName = keyof typeof ops
export type OpInput<K extends OpName> = z.input<(typeof ops)[K]['input']>
export type OpOutput<K extends OpName> = z.output<(typeof ops)[K]['output']>
