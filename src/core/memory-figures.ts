import { z } from 'zod'

const Count = z.number().int().nonnegative()

/** How much memory training uses, in bytes; for each part the largest of any rank. */
export const MemoryFigures = z.strictObject({
  parameters: Count,
  gradients: Count,
  optimizer: Count,
  /** Embedding and head of the target. */
  frozen: Count,
  /** What the unroll keeps from one batch to the next. */
  buffers: Count,
  /** Batches made ahead, and the one in use. */
  batches: Count,
  /** The peak of the CUDA allocator; null on a CPU. */
  allocated: Count.nullable(),
  reserved: Count.nullable(),
  /** The peak of the process's resident memory. */
  host: Count,
})
export type MemoryFigures = z.output<typeof MemoryFigures>
