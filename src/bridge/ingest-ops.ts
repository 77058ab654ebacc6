import { z } from 'zod'
import { Count, Handle, Int, Minted, Nothing, op, Session } from './op.ts'

/** A sample that was just read or encoded. */
export const Encoded = z.strictObject({ set: Minted, numTokens: Count, lossTokens: Count, truncated: z.boolean() })

const Content = z.strictObject({ handle: Handle, path: z.string(), name: z.string().regex(/^[0-9a-f]{32}$/) })

/** The layouts of feature files: python/draftbridge/features/layouts.py says what each of them holds. */
export const layouts = ['specforge', 'speculators', 'torchspec'] as const
export type Layout = (typeof layouts)[number]

/** What a file of an ingest is. A compressed one is not looked into. */
export const fileKinds = [...layouts, 'compressed', 'unknown', 'unreadable'] as const
export type FileKind = (typeof fileKinds)[number]

/** Ops that read feature files of other programs, count loss tokens, and write content files that samples share. */
export const ingestOps = {
  /** Looks only at names in the files. */
  'features.judge': op(
    'bulk',
    z.strictObject({ paths: z.array(z.string()) }),
    z.strictObject({ files: z.array(z.strictObject({ kind: z.enum(fileKinds), about: z.string() })) }),
  ),
  /** Masks of a data set: of `path`, or else of the first folder in `near` that has some. A null handle: none has. */
  'masks.open': op(
    'io',
    z.strictObject({ path: z.string().nullable(), near: z.array(z.string()) }),
    z.strictObject({ handle: Handle.nullable(), path: z.string(), rows: Count, digest: z.string() }),
  ),
  'ckpt.load': op(
    'bulk',
    z.strictObject({
      path: z.string(),
      maxLength: Count,
      /** For each state that the file must hold: how many hidden states lie side by side in it. Not empty. */
      layers: z.record(z.string(), Int.positive()),
      layout: z.enum(layouts).default('specforge'),
      /** The state that is the target's last hidden state, which some layouts know by its place. */
      final: z.string().nullable().default(null),
      /** From `masks.open`. */
      masks: Handle.nullable().default(null),
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
  /** `content`: a digest of ids and mask. */
  'counts.add': op(
    'io',
    z.strictObject({ counter: Handle, set: Handle }),
    z.strictObject({ content: z.string().regex(/^[0-9a-f]{32}$/) }),
  ),
  'counts.read': op(
    'io',
    z.strictObject({ counter: Handle }),
    z.strictObject({ pairs: z.array(z.tuple([Count, Count])) }),
  ),
} as const
