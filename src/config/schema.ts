import { z } from 'zod'
import { RunId } from '../core/ids.ts'
import { storeKinds } from './store-kinds.ts'

const Count = z.number().int().positive()
const Unit = z.number().min(0).max(1)
const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const

/** A Node timer runs at most 2^31 ms; a longer one would fire at once. */
const LONGEST_SECONDS = 2_000_000

/** A size as text, `2TiB`, or as a number of bytes. */
export const Bytes = z.union([
  Count,
  z
    .string()
    .regex(/^\d+(\.\d+)? ?(B|KiB|MiB|GiB|TiB)$/)
    .describe('bytes such as 2TiB (units B, KiB, MiB, GiB, TiB)')
    .transform((text) => {
      const [, amount = '0', unit = 'B'] = /^([\d.]+) ?([A-Za-z]+)$/.exec(text) ?? []
      return Math.floor(Number(amount) * UNITS[unit as keyof typeof UNITS])
    })
    .pipe(Count),
])

const Run = z.strictObject({
  id: RunId.default(RunId.parse('demo')),
  dir: z.string().default('runs/demo'),
  seed: z.number().int().nonnegative().default(0),
})

const Target = z.strictObject({
  model: z.string().min(1),
  dtype: z.enum(['float32', 'bfloat16', 'float16']).default('bfloat16'),
  tokenizer: z.string().nullable().default(null),
})

const Data = z.strictObject({
  conversations: z.string().nullable().default(null),
  maxLength: z.number().int().min(2).default(2048),
  limit: Count.nullable().default(null),
  /** At most this many padded tokens in one forward pass of the target. */
  batchTokens: Count.default(4096),
  /** Store the target's likeliest token and logsumexp with each token (8 bytes): training then skips most of its head. */
  teacher: z.boolean().default(false),
})

const Features = z.strictObject({
  source: z.enum(['capture', 'files']).default('capture'),
  files: z.string().nullable().default(null),
  /** How ingested tensors get into the store: as reflinks, as hard links, as references to the files, or as copies. */
  link: z.enum(['auto', 'reflink', 'hardlink', 'reference', 'copy']).default('auto'),
})

const Store = z.strictObject({
  kind: z.enum(storeKinds).default('shared-dir'),
  root: z.string().default('features'),
  retain: z.boolean().default(true),
  durability: z.enum(['fsync', 'fast']).default('fsync'),
  /** When a digest of the read bytes is checked: at every get, at the first get of each process, or never. */
  verify: z.enum(['always', 'once', 'never']).default('always'),
  /** For all runs in the store together. Null: no limit. */
  quota: Bytes.nullable().default(null),
  /** Store equal tensors of different samples only once. */
  dedup: z.boolean().default(false),
  auth: z
    .strictObject({
      mode: z.enum(['none', 'mac', 'seal']).default('none'),
      /** Null: DRAFTBRIDGE_STORE_KEY holds the key. */
      keyFile: z.string().nullable().default(null),
    })
    .prefault({}),
})

const Draft = z.strictObject({
  config: z.string().default('auto'),
  vocabSize: Count.default(32000),
  /** How the draft's own head starts: as the reference does (normal, std 0.02), or from the target head's rows. */
  init: z.enum(['normal', 'target-head']).default('normal'),
  /** EAGLE-3.1: an RMSNorm for each auxiliary state before they are fused. A file in `config` decides for itself. */
  fcNorm: z.boolean().default(false),
  /** EAGLE-3.1: the next step of the draft starts from its normed output. */
  normOutput: z.boolean().default(false),
})

const Ttt = z.strictObject({
  steps: z.number().int().min(1).max(16).default(7),
  decay: Unit.default(0.8),
  loss: z.enum(['ce', 'lk-alpha', 'lk-lambda']).default('ce'),
  klScale: z.number().nonnegative().default(1),
  klDecay: z.number().nonnegative().default(1),
  reduction: z.enum(['all', 'masked']).default('all'),
  maskOffset: z.union([z.literal(0), z.literal(1), z.literal(2)]).default(0),
})

const Optimizer = z.strictObject({
  lr: z.number().positive().default(1e-4),
  betas: z.tuple([Unit, Unit]).default([0.9, 0.999]),
  weightDecay: z.number().nonnegative().default(0),
  clip: z.number().positive().default(0.5),
  warmupRatio: Unit.default(0.015),
  schedule: z.enum(['cosine', 'linear', 'constant']).default('cosine'),
})

const Validation = z.strictObject({
  /** Hold out this share of the samples: they are not trained on. */
  share: z.number().gt(0).lt(1).nullable().default(null),
  /** Validate on the samples of another manifest of the same store. */
  manifest: z.string().min(1).nullable().default(null),
  /** Optimiser steps between two validations; there is one at the end in any case. */
  every: Count.default(500),
  /** At most so many samples. */
  limit: Count.nullable().default(null),
})

const Train = z.strictObject({
  // One number is kept for each.
  epochs: Count.max(1_000_000).default(10),
  maxSteps: Count.nullable().default(null),
  /** Per rank and micro-step: a number of samples, or a budget of padded tokens. */
  batch: z.union([z.strictObject({ samples: Count }), z.strictObject({ tokens: Count })]).default({ samples: 1 }),
  accumulate: Count.default(1),
  shuffle: z.boolean().default(true),
  precision: z.enum(['bf16', 'fp32']).default('bf16'),
  parallel: z.enum(['fsdp', 'replicate']).default('fsdp'),
  /** How the unroll is computed: `auto` is `fused` where there are kernels for it (CUDA, bf16), `plain` elsewhere. */
  unroll: z.enum(['auto', 'fused', 'plain']).default('auto'),
  /** Leave out the rows of a sample that no loss depends on. */
  compact: z.boolean().default(true),
  /** Make the MLP's activations again in the backward pass instead of keeping them: less memory, some 15 % slower. */
  recompute: z.boolean().default(false),
  /** Use what the producer has stored of the target's logits (data.teacher), where it has. */
  storedTeacher: z.boolean().default(true),
  ttt: Ttt.prefault({}),
  optimizer: Optimizer.prefault({}),
  logInterval: Count.default(50),
  save: z.strictObject({ every: Count.default(500), keep: Count.default(3) }).prefault({}),
  /** Batches that are made ahead of the one in use, and how large their samples may be together. */
  prefetch: z.number().int().min(1).max(64).default(2),
  prefetchBytes: Bytes.default(4 * UNITS.GiB),
  /** The share of the samples that a run may find damaged or missing and still go on. 0: the first one ends it. */
  maxCorruptShare: Unit.default(0),
  /** Null: no validation. */
  validation: Validation.nullable().default(null),
  /** Report steps whose loss or gradient norm is `factor` median deviations above the running median. Null: none. */
  spikes: z
    .strictObject({ factor: z.number().positive().default(10) })
    .nullable()
    .prefault({}),
  /** Also write the figures of events.ndjson to run.dir/tensorboard. */
  tensorboard: z.boolean().default(false),
  /** The same numbers from the same run, bit for bit, also on a GPU; slower there. */
  deterministic: z.boolean().default(false),
})

const Eval = z.strictObject({
  prompts: z.string().nullable().default(null),
  maxNewTokens: Count.default(128),
  steps: z.array(z.number().int().min(1).max(16)).min(1).default([3, 5, 7]),
  dtype: z.enum(['fp32', 'bf16']).default('fp32'),
  limit: Count.nullable().default(null),
})

const Launch = z.strictObject({
  nodes: Count.default(1),
  ranksPerNode: z.union([Count, z.literal('auto')]).default('auto'),
  rendezvous: z
    .string()
    .regex(/^[A-Za-z0-9.-]+:\d{1,5}$/)
    .describe('host and port, such as 10.0.0.1:29500')
    .nullable()
    .default(null),
  /** Seconds between SIGTERM and SIGKILL for the other ranks after one rank has failed. */
  graceSeconds: z.number().positive().max(LONGEST_SECONDS).default(3),
  /** Seconds that a consumer waits for the manifest or for the next heartbeat before PEER_TIMEOUT. */
  peerTimeoutSeconds: z.number().positive().max(LONGEST_SECONDS).default(600),
})

/** `draftbridge.yaml`. `loadConfig` makes its paths absolute. */
export const RunConfig = z.strictObject({
  version: z.literal(1),
  run: Run.prefault({}),
  target: Target,
  data: Data.prefault({}),
  features: Features.prefault({}),
  store: Store.prefault({}),
  manifest: z.string().default('manifest'),
  draft: Draft.prefault({}),
  train: Train.prefault({}),
  eval: Eval.prefault({}),
  launch: Launch.prefault({}),
})
export type RunConfig = z.output<typeof RunConfig>
