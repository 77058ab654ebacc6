import { z } from 'zod'
import { FeatureSpec } from '../core/feature-spec.ts'
import { Count, Digests, Handle, Int, Minted, Names, op, Session } from './op.ts'

const Metadata = z.record(z.string(), z.string())
/** A key that `key.open` opened; null in a store without one. */
const Key = Handle.nullable().default(null)

/** Of the first axis of every named tensor, `end` not included. Null: all. */
const Rows = z.strictObject({ start: Count, end: Count }).nullable()

const ReadRequest = z.strictObject({
  path: z.string(),
  /** Null: all tensors. */
  names: Names.nullable(),
  rows: Rows,
  verify: z.boolean(),
  /** A header that claims more than this for its tensors is not believed. */
  maxBytes: Count,
})

/** A file that tensors of the set lie in already: they are checked there and not written. */
const ExternSource = z.strictObject({
  /** As the object is to name it: absolute, or below the store's root. */
  file: z.string(),
  /** Where it can be read now. */
  open: z.string(),
  size: Count,
  mtimeNs: z.string().regex(/^\d{1,19}$/),
  /** Where the tensor of each name begins. */
  offsets: z.record(z.string(), Count),
})

/** What Python says of one damaged object of a batch; the others are served. */
export const ObjectError = z.strictObject({
  error: z.strictObject({
    code: z.string(),
    message: z.string(),
    details: z.looseObject({
      file: z.string().optional(),
      field: z.string().optional(),
      found: z.string().optional(),
      fix: z.string().optional(),
    }),
  }),
})
export type ObjectError = z.output<typeof ObjectError>

const FoundObject = z.strictObject({ set: Minted, metadata: Metadata, digests: Digests })

/** Tensor sets, and the objects they are stored in. */
export const objectOps = {
  'tensor.synthesize': op('io', z.strictObject({ features: z.array(FeatureSpec), seed: Int }), Minted),
  'tensor.clone': op('io', z.strictObject({ handle: Handle, names: Names.nullable(), rows: Rows }), Minted),
  'tensor.digest': op('io', Session, z.strictObject({ digests: Digests })),

  'object.write': op(
    'bulk',
    z.strictObject({
      handle: Handle,
      path: z.string(),
      metadata: Metadata,
      fsync: z.boolean(),
      key: Key,
      extern: ExternSource.nullable().default(null),
    }),
    z.strictObject({ bytes: Count, digests: Digests }),
  ),
  'object.read': op(
    'io',
    z.strictObject({ requests: z.array(ReadRequest), key: Key }),
    z.strictObject({ results: z.array(z.union([FoundObject, ObjectError, z.null()])) }),
  ),
  /** Writes the object at `path`, which is under the key `from`, to the new file `staged` under `to`. */
  'object.rekey': op(
    'bulk',
    z.strictObject({ path: z.string(), staged: z.string(), from: Handle, to: Handle, fsync: z.boolean() }),
    /** False when it is under `to` already; then there is no new file. */
    z.strictObject({ changed: z.boolean() }),
  ),
} as const
