import { z } from 'zod'
import { Part } from '../../core/part.ts'

const Count = z.number().int().nonnegative()
const Kinds = z
  .array(z.strictObject({ why: z.string(), count: Count, places: z.array(z.string()).readonly() }))
  .readonly()

/** Events of `generate`. `written`: those of earlier starts too. `leftOut`: good inputs whose answers are not good. */
export const generateEvents = [
  z.strictObject({ event: z.literal('generate.started'), total: Count, part: Part.optional() }),
  z.strictObject({
    event: z.literal('generate.progress'),
    total: Count,
    written: Count,
    leftOut: Count,
    refused: Count,
    tokens: Count,
  }),
  z.strictObject({
    event: z.literal('generate.finished'),
    out: z.string(),
    written: Count,
    resumed: Count,
    answers: Count,
    tokens: Count,
    tokensPerSecond: z.number(),
    seconds: z.number(),
    leftOut: Kinds,
    refused: Kinds,
  }),
] as const
