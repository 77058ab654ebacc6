import { z } from 'zod'
import { FeatureSpec } from './feature-spec.ts'
import { Generation, RunId, SampleId, StoreId } from './ids.ts'

export const SCHEMA_VERSION = 1

/** `xxh3_64:` and 16 hex digits, over the tensor's bytes as they lie on disk (little-endian, row-major). */
export const DIGEST = /^xxh3_64:[0-9a-f]{16}$/
export const Digest = z.string().regex(DIGEST)

export const MAX_FEATURES = 32
/** The most characters of a provenance key, and of a text value. */
export const PROVENANCE = { name: 64, text: 1024 } as const

const Count = z.number().int().nonnegative()

/** Facts about a sample that the program acts on. A field that is absent is unknown. */
const facts = {
  /** Tokens that count in the loss. */
  trainedTokens: Count.optional(),
  /** Whether the sample was cut to `data.maxLength`. */
  truncated: z.boolean().optional(),
  /** Size of the feature file that the sample was read from. */
  sourceBytes: Count.optional(),
  /** Where its input stands among all inputs of the data set, from 0. Several samples of one input share it. */
  order: Count.optional(),
}
export const SampleFacts = z.strictObject(facts)
export type SampleFacts = z.infer<typeof SampleFacts>

/** One sample as the control plane knows it: everything but the tensors. */
export const SampleRef = z.strictObject({
  schemaVersion: z.literal(SCHEMA_VERSION),
  runId: RunId,
  sampleId: SampleId,
  storeId: StoreId,
  generation: Generation,
  features: z.array(FeatureSpec).min(1).max(MAX_FEATURES),
  digests: z.record(z.string(), Digest),
  numTokens: z.number().int().nonnegative(),
  bytes: z.number().int().nonnegative(),
  ...facts,
  /** Where the sample came from, for people: the program never acts on it. Short scalars only. */
  provenance: z.record(
    z.string().max(PROVENANCE.name),
    z.union([z.string().max(PROVENANCE.text), z.number(), z.boolean(), z.null()]),
  ),
})
export type SampleRef = z.infer<typeof SampleRef>
export type Provenance = SampleRef['provenance']
