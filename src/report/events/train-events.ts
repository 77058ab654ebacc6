import { z } from 'zod'
import { MemoryFigures } from '../../core/memory-figures.ts'

const Count = z.number().int().nonnegative()
const Measured = z.number().nullable()
const Series = z.array(Measured)
/** Which samples a step trained on, by rank. */
const Samples = z.array(z.strictObject({ rank: Count, sampleIds: z.array(z.string()) }))

const Losses = { loss: Measured, ploss: Series, acc: Series, acceptanceRate: Series }

/** Fields with a default are missing in the files of earlier versions. */
export const trainEvents = [
  z.strictObject({
    event: z.literal('train.waiting'),
    manifest: z.string(),
    timeoutSeconds: z.number(),
    /** How many parts of the manifest are complete, where it has parts. */
    parts: z.strictObject({ complete: Count, count: Count }).optional(),
  }),
  z.strictObject({
    event: z.literal('train.started'),
    ranks: Count,
    samples: Count,
    /** Samples dropped per epoch, because every rank needs an equal share. The shuffle drops other samples each epoch. */
    leftOver: Count,
    /** Samples held out for validation. */
    heldOut: Count.default(0),
    totalSteps: Count,
    parameters: Count,
    resumedFrom: Count.nullable(),
    device: z.string().default(''),
    /** Measured matrix-multiplication speed of one device, in TFLOP/s. */
    peakTflops: Measured.default(null),
    deterministic: z.boolean().default(false),
  }),
  z.strictObject({
    event: z.literal('train.metrics'),
    step: Count,
    totalSteps: Count,
    epoch: Count,
    gradNorm: Measured,
    lr: z.number(),
    ...Losses,
    tokensPerSecond: z.number(),
    dataWaitShare: z.number(),
    /** Kernels that were compiled or loaded since the last event: 0 after the warm-up. */
    kernelBuilds: Count.default(0),
    /** TFLOP/s of all ranks together, and their share of the measured peak of the devices. */
    tflops: Measured.default(null),
    peakShare: Measured.default(null),
  }),
  z.strictObject({
    event: z.literal('train.validation'),
    step: Count,
    epoch: Count,
    samples: Count,
    tokens: Count,
    lossTokens: Count,
    ...Losses,
    /** sum over k of acc_1 x ... x acc_k: accepted draft tokens per target pass, if acceptances were independent. */
    simulatedAcceptLength: Measured,
    seconds: z.number(),
  }),
  /** A step whose loss or gradient norm is far above the running median. */
  z.strictObject({
    event: z.literal('train.spike'),
    step: Count,
    of: z.enum(['loss', 'gradNorm']),
    value: z.number(),
    typical: z.number(),
    samples: Samples,
  }),
  /** A loss that was NaN or infinite ended the run. `samples`: those of the ranks where it began, or of all ranks. */
  z.strictObject({ event: z.literal('train.notFinite'), step: Count, found: z.string(), samples: Samples }),
  /** The run ended because an operation has no deterministic form, and train.deterministic is true. */
  z.strictObject({ event: z.literal('train.refused'), operation: z.string() }),
  /** `start`: after the first optimiser step of this start, when everything has been allocated once. */
  z.strictObject({
    event: z.literal('train.memory'),
    at: z.enum(['start', 'end']),
    step: Count,
    ranks: Count,
    memory: MemoryFigures,
  }),
  z.strictObject({ event: z.literal('train.checkpoint'), step: Count, dir: z.string() }),
  z.strictObject({ event: z.literal('train.finished'), step: Count, seconds: z.number(), checkpoint: z.string() }),
  /** One optimiser step of a dry run. */
  z.strictObject({
    event: z.literal('train.rehearsed'),
    step: Count,
    totalSteps: Count,
    ranks: Count,
    microSteps: Count,
    gradNorm: Measured,
    ...Losses,
    tokens: Count,
    lossTokens: Count,
    /** Seconds to start the ranks and build the draft, to load the first batch, and to run the step. */
    startSeconds: z.number(),
    loadSeconds: z.number(),
    stepSeconds: z.number(),
    memory: MemoryFigures,
  }),
] as const
