import { z } from 'zod'
import { Count, Handle, Int, Minted, Nothing, op, Session } from './op.ts'

/** A sample that was just read or encoded. */
export const Encoded = z.strictObject({ set: Minted, numTokens: Count, lossTokens: Count, truncated: z.boolean() })

const Content = z.strictObject({ handle: Handle, path: z.string(), name: z.string().regex(/^[0-9a-f]{32}$/) })

/** Ops that read feature files of other programs, count loss tokens, and write content files that samples share. */
export const ingestOps = {
  'ckpt.load': op(
    'bulk',
    z.strictObject({
      path: z.string(),
      maxLength: Count,
      /** For each state that the file must hold: how many hidden states lie side by side in it. Not empty. */
      layers: z.record(z.string(), Int.positive()),
      /** If the file stores the states unchanged, the tensors map the file instead of a copy. */
      inPlace: z.boolean().default(false),
    }),
    Encoded.extend({
      extern: z
        .strictObject({ size: Count, mtimeNs: z.string().regex(/^\d+$/), offsets: z.record(z.string(), Count) })
        .nullable(),
      /** The reason if the states were copied although `inPlace` is true. */
      copied: z.string().nullable(),
    }),
  ),
  'content.name': op('bulk', Session, z.strictObject({ name: z.string(), offsets: z.record(z.string(), Count) })),
  'content.write': op('bulk', Content.extend({ fsync: z.boolean() }), Nothing),
  /** Null: the file does not exist. */
  'content.compare': op('bulk', Content, z.strictObject({ same: z.boolean().nullable() })),
  'counts.open': op('io', z.strictObject({ vocabSize: Int.positive() }), Session),
  'counts.add': op(
    'io',
    /** `like`: a sample that must have the same tokens and mask; otherwise nothing is counted. */
    z.strictObject({ counter: Handle, set: Handle, like: Handle.nullable().default(null) }),
    z.strictObject({ counted: z.boolean() }),
  ),
  'counts.read': op(
    'io',
    z.strictObject({ counter: Handle }),
    z.strictObject({ pairs: z.array(z.tuple([Count, Count])) }),
  ),
} as const
