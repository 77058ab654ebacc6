import { FEATURE_NAME, isPlainSpec } from './feature-spec.ts'
import { SAMPLE_ID, SHORT_NAME } from './ids.ts'
import { hasOnly, isCount, isList, isObject, isText } from './plain.ts'
import { DIGEST, MAX_FEATURES, PROVENANCE, type Provenance, type SampleRef, SCHEMA_VERSION } from './sample-ref.ts'

const FIELDS = [
  ...(['schemaVersion', 'runId', 'sampleId', 'storeId', 'generation'] as const),
  ...(['features', 'digests', 'numTokens', 'bytes', 'provenance'] as const),
]
const OPTIONAL_FIELDS = ['trainedTokens', 'truncated', 'sourceBytes', 'order'] as const
/** Provenance with more keys is left to the schema. */
const MAX_FAST_FIELDS = 64

/**
 * Whether `given` has the fields of a ref, no others, and only short plain values; then it cannot hold tensors. True does
 * not mean that it is a valid ref; false means that `assertNoTensors` has to decide.
 */
export function isSmallPlainRef(given: unknown): boolean {
  if (!hasOnly(given, FIELDS, OPTIONAL_FIELDS)) return false
  const { features, digests, provenance } = given
  const present = OPTIONAL_FIELDS.filter((name) => Object.hasOwn(given, name))
  if (!present.every((name) => typeof given[name] === 'number' || typeof given[name] === 'boolean')) return false
  if (!isList(features) || features.length > MAX_FEATURES || !features.every(isPlainSpec)) return false
  return isObject(digests) && Reflect.ownKeys(digests).length === features.length && isShort(provenance)
}

/**
 * A copy of a valid ref, about ten times faster than through its schema. Null: the schema has to decide, and to say what
 * is wrong.
 */
export function plainRef(given: unknown): SampleRef | null {
  if (!isSmallPlainRef(given)) return null
  // Checked after copying, because the original may change during the check.
  const ref = copyOf(given as SampleRef)
  if (ref.schemaVersion !== SCHEMA_VERSION) return null
  if (!isText(ref.sampleId, SAMPLE_ID) || !isText(ref.runId, SHORT_NAME) || !isText(ref.storeId, SHORT_NAME))
    return null
  if (!isCount(ref.generation) || ref.generation === 0 || !isCount(ref.numTokens) || !isCount(ref.bytes)) return null
  if (ref.features.length === 0 || !ref.features.every(isPlainSpec)) return null
  if (!hasGoodFacts(ref)) return null
  return Object.entries(ref.digests).every(isDigest) && isProvenance(ref.provenance) ? ref : null
}

function copyOf({ features, digests, provenance, ...ref }: SampleRef): SampleRef {
  const specs = features.map(({ name, shape, dtype }) => ({ name, shape: [...shape], dtype }))
  return { ...ref, features: specs, digests: { ...digests }, provenance: { ...provenance } }
}

function hasGoodFacts({ trainedTokens, truncated, sourceBytes, order }: SampleRef): boolean {
  if (truncated !== undefined && typeof truncated !== 'boolean') return false
  return [trainedTokens, sourceBytes, order].every((count) => count === undefined || isCount(count))
}

const isDigest = ([name, digest]: readonly [string, unknown]): boolean =>
  isText(name, FEATURE_NAME) && isText(digest, DIGEST)

function isProvenance(provenance: Provenance): boolean {
  if (!isShort(provenance)) return false
  return Object.entries(provenance).every(([key, value]) => {
    return key.length <= PROVENANCE.name && key !== '__proto__' && (typeof value !== 'number' || Number.isFinite(value))
  })
}

function isShort(provenance: unknown): boolean {
  if (!isObject(provenance)) return false
  const keys = Reflect.ownKeys(provenance)
  if (keys.length > MAX_FAST_FIELDS) return false
  return keys.every((key) => {
    const value = typeof key === 'string' ? provenance[key] : undefined
    if (typeof value === 'string') return value.length <= PROVENANCE.text
    return value === null || typeof value === 'number' || typeof value === 'boolean'
  })
}
