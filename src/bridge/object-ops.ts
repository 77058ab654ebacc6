import { z } from 'zod'
import { FeatureSpec, isPlainSpec } from '../core/feature-spec.ts'
import { hasOnly, isCount, isList, isObject, isText } from '../core/plain.ts'
import { DIGEST } from '../core/sample-ref.ts'
import { Count, Digests, Handle, Int, Minted, Names, op, Session } from './op.ts'
import { PythonError } from './python-error.ts'

const Metadata = z.record(z.string(), z.string())
/** A key that `key.open` opened; null in a store without one. */
const Key = Handle.nullable().default(null)

/** Rows of the first axis of each named tensor, without `end`. Null: all rows. */
const Rows = z.strictObject({ start: Count, end: Count }).nullable()

const ReadRequest = z.strictObject({
  path: z.string(),
  /** Null: all tensors. */
  names: Names.nullable(),
  rows: Rows,
  verify: z.boolean(),
  /** A header that states more tensor bytes than this is rejected. */
  maxBytes: Count,
})

/** A file that already contains tensors of the set. They are checked there and not written again. */
const ExternSource = z.strictObject({
  /** The path to write into the object: absolute, or relative to the store's root. */
  file: z.string(),
  /** The path to open it at. */
  open: z.string(),
  size: Count,
  mtimeNs: z.string().regex(/^\d{1,19}$/),
  /** The file offset of each tensor, by name. */
  offsets: z.record(z.string(), Count),
})

/** The result for one damaged object of a batch; the other objects are returned. */
export const ObjectError = z.strictObject({ error: PythonError })
export type ObjectError = z.output<typeof ObjectError>

const FoundObject = z.strictObject({ set: Minted, metadata: Metadata, digests: Digests })

// A fast check that accepts the reply to nearly every read.
function isPlainReply(value: unknown): boolean {
  return hasOnly(value, ['results']) && isList(value.results) && value.results.every(isPlainFound)
}

function isPlainFound(found: unknown): boolean {
  if (!hasOnly(found, ['set', 'metadata', 'digests']) || !hasOnly(found.set, ['handle', 'features', 'bytes']))
    return false
  const { handle, features, bytes } = found.set
  if (!isCount(handle) || handle === 0 || !isCount(bytes) || !isList(features)) return false
  return features.every(isPlainSpec) && areTexts(found.metadata, ANY) && areTexts(found.digests, DIGEST)
}

const ANY = /^/

const areTexts = (texts: unknown, pattern: RegExp): boolean =>
  isObject(texts) && Object.entries(texts).every(([name, text]) => name !== '__proto__' && isText(text, pattern))

/** Ops on tensor sets, and on the objects that store them. */
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
    isPlainReply,
  ),
  /** Writes the object at `path`, which is under the key `from`, to the new file `staged` under `to`. */
  'object.rekey': op(
    'bulk',
    z.strictObject({ path: z.string(), staged: z.string(), from: Handle, to: Handle, fsync: z.boolean() }),
    /** False if it is already under `to`; then no file is written. */
    z.strictObject({ changed: z.boolean() }),
  ),
} as const
