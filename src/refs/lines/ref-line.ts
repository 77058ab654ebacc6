import { z } from 'zod'
import { Dtype, type FeatureSpec, specBytes } from '../../core/feature-spec.ts'
import { Generation, SampleId } from '../../core/ids.ts'
import { isCount } from '../../core/plain.ts'
import { DIGEST, Digest, type SampleFacts, SampleRef, SCHEMA_VERSION } from '../../core/sample-ref.ts'

/** `n` stands for the sample's number of tokens. Only the first axis may have it. */
const Axis = z.number().int().nonnegative()
const Shape = z.tuple([z.union([z.literal('n'), Axis])], Axis).or(z.tuple([]))

/** The features of a kind of sample, once for all refs that share them: name, dtype, shape. */
export const SpecTemplate = z
  .array(z.tuple([z.string().regex(/^[a-z][a-z0-9_]{0,63}$/), Dtype, Shape]))
  .min(1)
  .max(32)
export type SpecTemplate = z.infer<typeof SpecTemplate>

/** The names of provenance values, stored once for all refs that have the same names. */
export const KeyList = z.array(z.string().max(64)).max(32)
export type KeyList = z.infer<typeof KeyList>

const Provenance = SampleRef.shape.provenance
/** Index of the key list and the values; or, where refs share no names, an object of names and values. */
const ProvenanceLine = z.union([z.tuple([Axis], Provenance.valueType), Provenance])

/** What the refs of a manifest share, so that their lines need not repeat it. */
export interface Shared {
  readonly specs: readonly SpecTemplate[]
  readonly keys: readonly KeyList[]
}

const Count = z.number().int().nonnegative()
/**
 * Trained tokens, whether the sample was cut (1 or 0), bytes of its source file; null where that is unknown. Then the place
 * of its input among all inputs; absent where that is unknown, as it always is under schema version 2.
 */
const FactsLine = z.tuple([Count.nullable(), z.literal([0, 1]).nullable(), Count.nullable(), Count.optional()])

/**
 * One ref on one line: sample id, generation, index of its template, tokens, bytes, digests in the template's order
 * (hex only), provenance: index of its key list, then the values; facts. Run, store and schema version stand in the
 * root once. Lines of schema version 1 have no facts: three keys of their provenance are the facts.
 */
export const RefLine = z.tuple([
  SampleId,
  Generation,
  z.number().int().nonnegative(),
  z.number().int().nonnegative(),
  z.number().int().nonnegative(),
  z.array(z.string().regex(/^[0-9a-f]{16}$/)).max(32),
  ProvenanceLine,
  FactsLine.optional(),
])
export type RefLine = z.infer<typeof RefLine>

const DIGEST_PREFIX = 'xxh3_64:'

export function templateOf(ref: SampleRef): SpecTemplate {
  return ref.features.map(({ name, dtype, shape: [first, ...rest] }) => {
    if (first === undefined) return [name, dtype, []]
    return [name, dtype, [first === ref.numTokens ? 'n' : first, ...rest]]
  })
}

/** The index of the ref's template. A new template is added to `specs`. */
export function templateIndex(specs: SpecTemplate[], ref: SampleRef): number {
  const known = specs.findIndex((template) => fits(template, ref))
  return known === -1 ? specs.push(templateOf(ref)) - 1 : known
}

function fits(template: SpecTemplate, { features, numTokens }: SampleRef): boolean {
  if (template.length !== features.length) return false
  return template.every(([name, dtype, shape], at) => {
    const spec = features[at]
    if (spec?.name !== name || spec.dtype !== dtype || spec.shape.length !== shape.length) return false
    return spec.shape.every((axis, place) => (place === 0 && axis === numTokens ? 'n' : axis) === shape[place])
  })
}

const MAX_KEY_LISTS = 64
const MAX_KEYS = 32

/** The ref's provenance without its names. New names are added to `lists`. */
export function provenanceLine({ provenance }: SampleRef, lists: KeyList[]): RefLine[6] {
  const keys = Object.keys(provenance)
  const known = lists.findIndex((list) => list.length === keys.length && list.every((key, at) => key === keys[at]))
  if (known === -1 && (keys.length > MAX_KEYS || lists.length >= MAX_KEY_LISTS)) return provenance
  return [known === -1 ? lists.push(keys) - 1 : known, ...Object.values(provenance)]
}

export function toLine(ref: SampleRef, template: number, provenance: RefLine[6]): RefLine {
  const digests = ref.features.map(({ name }) => {
    const digest = ref.digests[name] ?? ''
    return (DIGEST.test(digest) ? digest : Digest.parse(digest)).slice(DIGEST_PREFIX.length)
  })
  const { trainedTokens = null, truncated, sourceBytes = null, order } = ref
  const cut = truncated === undefined ? null : truncated ? 1 : 0
  const facts: RefLine[7] =
    order === undefined ? [trainedTokens, cut, sourceBytes] : [trainedTokens, cut, sourceBytes, order]
  return [ref.sampleId, ref.generation, template, ref.numTokens, ref.bytes, digests, provenance, facts]
}

/** The ref of a line, or the reason why line and root do not fit together. */
export function fromLine(
  line: RefLine,
  root: { readonly runId: SampleRef['runId']; readonly storeId: SampleRef['storeId'] },
  { specs, keys }: Shared,
): SampleRef | string {
  const [sampleId, generation, index, numTokens, bytes, hashes, origin, facts] = line
  const template = specs[index]
  if (template === undefined) return `spec template ${index}; the root has ${specs.length}`
  if (hashes.length !== template.length) return `${hashes.length} digests for ${template.length} features`
  const features = template.map(([name, dtype, shape]): FeatureSpec => {
    return { name, dtype, shape: shape.map((axis) => (axis === 'n' ? numTokens : axis)) }
  })
  const expected = features.reduce((sum, spec) => sum + specBytes(spec), 0)
  if (bytes !== expected) return `${bytes} bytes; its features take ${expected}`
  const provenance = Array.isArray(origin) ? named(origin, keys) : origin
  if (provenance === null)
    return `provenance of ${(origin as readonly unknown[]).length - 1} values that fit no key list`
  const digests = Object.fromEntries(features.map(({ name }, at) => [name, `${DIGEST_PREFIX}${hashes[at] ?? ''}`]))
  const { runId, storeId } = root
  return {
    schemaVersion: SCHEMA_VERSION,
    runId,
    sampleId,
    storeId,
    generation,
    features,
    digests,
    numTokens,
    bytes,
    ...(facts === undefined ? factsOfVersion1(provenance) : { ...factsOf(facts), provenance }),
  }
}

function factsOf([trainedTokens, truncated, sourceBytes, order]: z.infer<typeof FactsLine>): SampleFacts {
  return {
    ...(trainedTokens === null ? {} : { trainedTokens }),
    ...(truncated === null ? {} : { truncated: truncated === 1 }),
    ...(sourceBytes === null ? {} : { sourceBytes }),
    ...(order === undefined ? {} : { order }),
  }
}

/** Where version 1 has the facts: producers wrote them among the provenance. */
const VERSION_1_NAMES = { lossTokens: 'trainedTokens', truncated: 'truncated', fileBytes: 'sourceBytes' } as const

function isFactOfVersion1([name, value]: readonly [string, unknown]): boolean {
  if (!Object.hasOwn(VERSION_1_NAMES, name)) return false
  return name === 'truncated' ? typeof value === 'boolean' : isCount(value)
}

function factsOfVersion1(provenance: SampleRef['provenance']): SampleFacts & Pick<SampleRef, 'provenance'> {
  const entries = Object.entries(provenance)
  const facts = entries
    .filter(isFactOfVersion1)
    .map(([name, value]) => [VERSION_1_NAMES[name as keyof typeof VERSION_1_NAMES], value])
  const rest = entries.filter((entry) => !isFactOfVersion1(entry))
  return { ...Object.fromEntries(facts), provenance: Object.fromEntries(rest) }
}

function named([list, ...values]: readonly unknown[], lists: readonly KeyList[]): SampleRef['provenance'] | null {
  const keys = lists[list as number]
  if (keys?.length !== values.length) return null
  return Object.fromEntries(keys.map((key, at) => [key, values[at]])) as SampleRef['provenance']
}
