import { z } from 'zod'

const Count = z.number().int().nonnegative()
const Measured = z.number().nullable()
const Series = z.array(Measured)
/** Which samples a step trained on, by rank. */
const Samples = z.array(z.strictObject({ rank: Count, sampleIds: z.array(z.string()) }))

/** Bytes; for each part the most of any rank. */
const MemoryFigures = z.strictObject({
  parameters: Count,
  gradients: Count,
  optimizer: Count,
  frozen: Count,
  buffers: Count,
  batches: Count,
  /** Peak of the CUDA allocator; null on a CPU. */
  allocated: Count.nullable(),
  reserved: Count.nullable(),
  /** Peak of the process's resident memory. */
  host: Count,
})
export type MemoryFigures = z.output<typeof MemoryFigures>

const Losses = { loss: Measured, ploss: Series, acc: Series, acceptanceRate: Series }

/** Fields with a default came later than the event: files of earlier versions do not have them. */
export const trainEvents = [
  z.strictObject({ event: z.literal('train.waiting'), manifest: z.string(), timeoutSeconds: z.number() }),
  z.strictObject({
    event: z.literal('train.started'),
    ranks: Count,
    samples: Count,
    /** Samples that the equal shards of an epoch cannot place; the shuffle makes them others each epoch. */
    leftOver: Count,
    /** Samples that are only validated on. */
    heldOut: Count.default(0),
    totalSteps: Count,
    parameters: Count,
    resumedFrom: Count.nullable(),
    device: z.string().default(''),
    /** What one device was measured to do at a matrix product, in TFLOP/s. */
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
    /** Kernels that were compiled or loaded: none, once a run has warmed up. */
    kernelBuilds: Count.default(0),
    /** TFLOP/s of all ranks together, and their share of what their devices were measured to do. */
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
    /** sum over k of acc_1 x ... x acc_k: drafted tokens accepted in a row, were acceptances independent. */
    simulatedAcceptLength: Measured,
    seconds: z.number(),
  }),
  /** A step whose loss or gradient norm is far above what was usual. */
  z.strictObject({
    event: z.literal('train.spike'),
    step: Count,
    of: z.enum(['loss', 'gradNorm']),
    value: z.number(),
    typical: z.number(),
    samples: Samples,
  }),
  /** The step that ended the run, and what it was trained on: on the ranks where it began, or on all if that is not known. */
  z.strictObject({ event: z.literal('train.notFinite'), step: Count, found: z.string(), samples: Samples }),
  /** An operation that train.deterministic does not allow. The run ends. */
  z.strictObject({ event: z.literal('train.refused'), operation: z.string() }),
  /** `start`: after the first step that this process made, when everything has been there once. */
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
    /** Until the ranks had met and the draft was built, until the first batch was there, and for the step itself. */
    startSeconds: z.number(),
    loadSeconds: z.number(),
    stepSeconds: z.number(),
    memory: MemoryFigures,
  }),
] as const
