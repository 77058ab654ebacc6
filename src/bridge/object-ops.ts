import { z } from 'zod'
import { FeatureSpec, isPlainSpec } from '../core/feature-spec.ts'
import { hasOnly, isCount, isList, isObject, isText } from '../core/plain.ts'
import { DIGEST } from '../core/sample-ref.ts'
import { Count, Digests, Handle, Int, Minted, Names, op, Session } from './op.ts'
import { PythonError } from './python-error.ts'

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

/** The result for one damaged object of a batch; the other objects are returned. */
export const ObjectError = z.strictObject({ error: PythonError })
export type ObjectError = z.output<typeof ObjectError>

const FoundObject = z.strictObject({ set: Minted, metadata: Metadata, digests: Digests })

// The reply to nearly every read.
function isPlainReply(value: unknown): boolean {
  return hasOnly(value, ['results']) && isList(value.results) && value.results.every(isPlainlyFound)
}

function isPlainlyFound(found: unknown): boolean {
  if (!hasOnly(found, ['set', 'metadata', 'digests']) || !hasOnly(found.set, ['handle', 'features', 'bytes']))
    return false
  const { handle, features, bytes } = found.set
  if (!isCount(handle) || handle === 0 || !isCount(bytes) || !isList(features)) return false
  return features.every(isPlainSpec) && areTexts(found.metadata, ANY) && areTexts(found.digests, DIGEST)
}

const ANY = /^/

const areTexts = (texts: unknown, pattern: RegExp): boolean =>
  isObject(texts) && Object.entries(texts).every(([name, text]) => name !== '__proto__' && isText(text, pattern))

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
    isPlainReply,
  ),
  /** Writes the object at `path`, which is under the key `from`, to the new file `staged` under `to`. */
  'object.rekey': op(
    'bulk',
    z.strictObject({ path: z.string(), staged: z.string(), from: Handle, to: Handle, fsync: z.boolean() }),
    /** False when it is under `to` already; then there is no new file. */
    z.strictObject({ changed: z.boolean() }),
  ),
} as const
