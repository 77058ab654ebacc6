import { z } from 'zod'
import { Handle, op, Session } from './op.ts'

/** Ops that show stored samples as text. */
export const textOps = {
  /** Loads the tokenizer at `tokenizer`, or that of the target. The hash is null for one that cannot be written as text. */
  'text.open': op(
    'io',
    z.strictObject({ model: z.string(), tokenizer: z.string().nullable() }),
    Session.extend({ tokenizerHash: z.string().nullable() }),
  ),
  /** `set` has `input_ids` and `loss_mask`. */
  'text.parts': op(
    'io',
    z.strictObject({ session: Handle, set: Handle }),
    z.strictObject({ parts: z.array(z.strictObject({ text: z.string(), trained: z.boolean() })) }),
  ),
} as const
