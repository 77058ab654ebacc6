import { z } from 'zod'
import { FeatureSpec } from './feature-spec.ts'
import { Generation, RunId, SampleId, StoreId } from './ids.ts'

export const SCHEMA_VERSION = 1

/** `xxh3_64:` and 16 hex digits, over the tensor's bytes as they lie on disk (little-endian, row-major). */
export const Digest = z.string().regex(/^xxh3_64:[0-9a-f]{16}$/)

/** One sample as the control plane knows it: everything but the tensors. */
export const SampleRef = z.strictObject({
  schemaVersion: z.literal(SCHEMA_VERSION),
  runId: RunId,
  sampleId: SampleId,
  storeId: StoreId,
  generation: Generation,
  strategy: z.literal('eagle3'),
  features: z.array(FeatureSpec).min(1).max(32),
  digests: z.record(z.string(), Digest),
  numTokens: z.number().int().nonnegative(),
  bytes: z.number().int().nonnegative(),
  /** Where the sample came from (file, conversation id, counts). Short scalars only. */
  provenance: z.record(z.string().max(64), z.union([z.string().max(1024), z.number(), z.boolean(), z.null()])),
})
export type SampleRef = z.infer<typeof SampleRef>
export type Provenance = SampleRef['provenance']

const REF_FIELDS = 11
const SPEC_FIELDS = 3
const PROVENANCE_FIELDS = 64

/**
 * Whether this has a ref's fields and nothing beside them, with short plain values: then it need not be searched for
 * tensors. It may still be no ref, and a "no" has to be looked into.
 */
export function carriesLittle(given: unknown): boolean {
  if (typeof given !== 'object' || given === null || Reflect.ownKeys(given).length !== REF_FIELDS) return false
  const { features, digests, provenance }: Partial<SampleRef> = { ...given }
  if (!Array.isArray(features) || !isObject(digests) || !isObject(provenance)) return false
  if (Reflect.ownKeys(digests).length !== features.length) return false
  return features.every((spec) => isObject(spec) && Reflect.ownKeys(spec).length === SPEC_FIELDS) && isShort(provenance)
}

function isShort(provenance: Provenance): boolean {
  const keys = Reflect.ownKeys(provenance)
  if (keys.length > PROVENANCE_FIELDS) return false
  return keys.every((key) => {
    const value = typeof key === 'string' ? provenance[key] : undefined
    if (typeof value === 'string') return value.length <= 1024
    return value === null || typeof value === 'number' || typeof value === 'boolean'
  })
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
