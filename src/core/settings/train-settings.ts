import { z } from 'zod'
import { Bytes, UNITS } from './bytes.ts'
import { Count, Unit } from './count.ts'

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

/** `train`: crosses the bridge whole, as the dataclass TrainSettings of the same fields. */
export const TrainSettings = z.strictObject({
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
export type TrainSettings = z.output<typeof TrainSettings>

/** What decides which numbers a run computes. `batch` does too, and is compared over all ranks. */
const DECISIVE = ['epochs', 'maxSteps', 'accumulate', 'shuffle', 'precision', 'ttt', 'optimizer'] as const
/** Likewise, but left out at their defaults: a checkpoint that was written before the key was known still fits. */
const DECISIVE_BEYOND_DEFAULT = ['deterministic'] as const

/** The decisive settings by the names that users know, as a checkpoint keeps them. */
export function trainIdentity(train: TrainSettings): Readonly<Record<string, z.core.util.JSONType>> {
  const defaults = TrainSettings.parse({})
  const changed = DECISIVE_BEYOND_DEFAULT.filter((key) => train[key] !== defaults[key])
  return Object.fromEntries([...DECISIVE, ...changed].map((key) => [`train.${key}`, train[key]]))
}
