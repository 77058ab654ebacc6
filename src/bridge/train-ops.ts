import { z } from 'zod'
import { DraftSettings, TargetSettings } from '../core/settings/model-settings.ts'
import { TrainSettings } from '../core/settings/train-settings.ts'
import { CaptureContract } from '../core/target-contract.ts'
import { Count, Handle, Int, Nothing, op } from './op.ts'
import { Measured, WatchedStep } from './report-ops.ts'

const TrainMetrics = z.strictObject({
  /** Optimiser steps since the last read; everything below is summed over them and over all ranks, then divided. */
  steps: Count,
  loss: Measured,
  gradNorm: Measured,
  lr: z.number(),
  ploss: z.array(Measured),
  acc: z.array(Measured),
  acceptanceRate: z.array(Measured),
  tokens: Count,
  lossTokens: Count,
  /** What training on these tokens takes (python/draftbridge/drafts/eagle3/flops.py). */
  flops: z.number().nonnegative(),
  /** Kernels that were compiled or loaded since the last read, on all ranks: none, once a run has warmed up. */
  kernelBuilds: Count,
  watched: z.array(WatchedStep),
})
export type TrainMetrics = z.output<typeof TrainMetrics>

/** Process groups, batches and the training session. */
export const trainOps = {
  'dist.init': op(
    'engine',
    z.strictObject({
      rank: Count,
      localRank: Count,
      worldSize: Int.positive(),
      masterAddr: z.string(),
      masterPort: Int.positive(),
      device: z.enum(['auto', 'cpu', 'cuda']),
      timeoutSeconds: z.number().positive(),
      threads: Count,
      deterministic: z.boolean(),
    }),
    z.strictObject({ device: z.string(), backend: z.enum(['gloo', 'nccl']), deterministic: z.boolean() }),
  ),
  'dist.barrier': op('engine', Nothing, Nothing),
  /** What any rank has, each number once, ascending. */
  'dist.union': op('engine', z.strictObject({ numbers: z.array(Count) }), z.strictObject({ numbers: z.array(Count) })),
  'dist.close': op('engine', Nothing, Nothing),

  'batch.build': op(
    'io',
    /** For the session that trains on it, on its device. Without samples: the empty part of a rank that lost its own. */
    z.strictObject({ session: Handle, samples: z.array(Handle), maxLength: Int.positive() }),
    z.strictObject({ handle: Handle, tokens: Count, positions: Count, lossTokens: Count }),
  ),

  'train.build': op(
    'engine',
    z.strictObject({
      train: TrainSettings,
      draft: DraftSettings,
      target: TargetSettings,
      /** What the draft is, once `draft.config` is resolved. */
      draftConfig: z.record(z.string(), z.json()),
      /** How the features were made. */
      contract: CaptureContract,
      countsFiles: z.array(z.string()).readonly(),
      totalSteps: Int.positive(),
      seed: Count,
    }),
    z.strictObject({ handle: Handle, parameters: Count }),
  ),
  'train.step': op(
    'engine',
    z.strictObject({
      session: Handle,
      batch: Handle,
      /** Positions (samples x padded length) of the whole micro-step over all ranks: the denominator of reduction `all`. */
      positions: Int.positive(),
      /** Micro-steps in this optimiser step; the loss is divided by it. */
      window: Int.positive(),
      /** The last micro-step of its window: reduce gradients, clip, step. */
      boundary: z.boolean(),
      /** This rank was asked to stop. All ranks learn of it together, at the boundary. */
      stop: z.boolean(),
      /** Samples of this window that this rank could not read. Said at the boundary. */
      lost: Count,
      /** The newest step whose checkpoint is complete, from the rank that writes them; 0 from the others. Likewise. */
      saved: Count,
    }),
    /**
     * `lost`: of this window, over all ranks. `saved`: what the rank that writes said. `watched`: steps that the host has
     * seen since it was last told.
     */
    z.strictObject({
      stepped: z.boolean(),
      stop: z.boolean(),
      globalStep: Count,
      lost: Count,
      saved: Count,
      watched: z.array(WatchedStep),
    }),
  ),
  'train.metrics': op('engine', z.strictObject({ session: Handle }), TrainMetrics),
  /** The state to save, joined from all ranks: a handle on the rank that writes it, null on the others. */
  'train.snapshot': op('engine', z.strictObject({ session: Handle }), z.strictObject({ handle: Handle.nullable() })),
  /** Into a folder that is there; synced. */
  'snapshot.write': op(
    'bulk',
    z.strictObject({ snapshot: Handle, dir: z.string() }),
    z.strictObject({ files: z.array(z.strictObject({ name: z.string(), bytes: Count })) }),
  ),
  'train.load': op(
    'engine',
    z.strictObject({ session: Handle, dir: z.string() }),
    z.strictObject({ globalStep: Count }),
  ),
} as const
