import { z } from 'zod'
import { Count } from './count.ts'

/** `generate`: conversations that the target writes itself. docs/generate.md says more. */
export const GenerateSettings = z.strictObject({
  /** The file that is written: JSON lines, as data.conversations reads them. */
  out: z.string().nullable().default(null),
  /** So many conversations whose prompts the target writes too; data.conversations is not read then. */
  magpie: Count.nullable().default(null),
  /** The most tokens of an answer. A longer one is left out. */
  maxNewTokens: Count.default(1024),
  /** 0: always the likeliest token. */
  temperature: z.number().min(0).max(10).default(0.7),
  /** Only the likeliest tokens that reach this probability together are drawn. */
  topP: z.number().gt(0).max(1).default(1),
  /** Null: run.seed. */
  seed: z.number().int().nonnegative().nullable().default(null),
  /** Answers that are written at the same time. `auto`: 64 on a GPU, 4 on a CPU. */
  batch: z.union([Count, z.literal('auto')]).default('auto'),
})
export type GenerateSettings = z.output<typeof GenerateSettings>
