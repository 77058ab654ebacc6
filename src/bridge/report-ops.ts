import { z } from 'zod'
import { MemoryFigures } from '../core/memory-figures.ts'
import { Count, Handle, Int, Nothing, op } from './op.ts'

/** Python says 1.0 as 1.0 and JSON keeps it; NaN and infinity travel as null because JSON has no word for them. */
export const Measured = z.number().nullable()

const Session = z.strictObject({ session: Handle })

/** One optimiser step as the host saw it, some steps after the device made it. */
export const WatchedStep = z.strictObject({ step: Int.positive(), loss: z.number(), gradNorm: z.number() })
export type WatchedStep = z.output<typeof WatchedStep>

/** Sums over held-out samples of all ranks, divided by the denominators of all of them. */
const Validated = z.strictObject({
  samples: Count,
  tokens: Count,
  lossTokens: Count,
  loss: Measured,
  ploss: z.array(Measured),
  acc: z.array(Measured),
  acceptanceRate: z.array(Measured),
})
export type Validated = z.output<typeof Validated>

/** What only looks at a training session, and the files that show it to others. */
export const reportOps = {
  /** Waits for the device. FEATURE_INVALID when the loss of a step was not finite. */
  'train.settle': op('engine', Session, Nothing),
  /** One batch of this rank; it may be an empty one. A collective. */
  'train.validate': op('engine', z.strictObject({ session: Handle, batch: Handle }), Nothing),
  /** What the batches since the last call add up to. A collective. */
  'train.validation': op('engine', Session, Validated),
  /** A collective. */
  'train.memory': op('engine', Session, MemoryFigures),
  /** FLOP/s of one device at a matrix product, in the dtype that the session computes in. */
  'train.peak': op('engine', Session, z.strictObject({ device: z.string(), flops: z.number().positive() })),

  /** `purgeStep`: what earlier files of the folder say of this step and later ones no longer counts. */
  'tensorboard.open': op(
    'io',
    z.strictObject({ dir: z.string(), purgeStep: Count }),
    z.strictObject({ handle: Handle }),
  ),
  'tensorboard.write': op(
    'io',
    z.strictObject({ file: Handle, step: Count, wallTime: z.number(), scalars: z.record(z.string(), z.number()) }),
    Nothing,
  ),
} as const
