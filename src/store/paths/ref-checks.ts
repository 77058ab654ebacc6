import { finding } from '../../core/errors.ts'
import type { FeatureSpec } from '../../core/feature-spec.ts'
import { SampleId } from '../../core/ids.ts'
import { assertNoTensors } from '../../core/no-tensors.ts'
import { plainRef } from '../../core/plain-ref.ts'
import { SampleRef } from '../../core/sample-ref.ts'
import type { BlobMetadata, RowRange, StoredBlob } from '../blobs/blobs.ts'

/** The value of `format` in an object's metadata. An object with another value is rejected. */
const OBJECT_FORMAT = 'draftbridge.sample.1'

export function parsedId(given: string): SampleId {
  const result = SampleId.safeParse(given)
  if (result.success) return result.data
  throw finding('REF_INVALID', 'this is not a sample id', {
    field: 'sampleId',
    found: JSON.stringify(given)?.slice(0, 80) ?? typeof given,
    fix: 'use at most 200 letters, digits and . _ : - characters, and start with a letter or digit',
  })
}

export function parsedRef(given: unknown): SampleRef {
  const plain = plainRef(given)
  if (plain !== null) return plain
  assertNoTensors(given, 'ref')
  const result = SampleRef.safeParse(given)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const field = ['ref', ...(issue?.path ?? [])].join('.')
  throw finding('REF_INVALID', 'this is not a sample ref', { field, found: issue?.message ?? 'another value' })
}

export function metadataOf(ref: SampleRef): BlobMetadata {
  return {
    format: OBJECT_FORMAT,
    store_id: ref.storeId,
    run_id: ref.runId,
    sample_id: ref.sampleId,
    generation: String(ref.generation),
  }
}

/** Names the manifest that an object was put for: see `CompleteManifests`. Not in a ref, and not compared with one. */
export const OWNER_KEY = 'owner'

/** The specs of `names`, in that order; of all features when not given. With `rows`, of that part of each. */
export function wantedSpecs(
  ref: SampleRef,
  names: readonly string[] | undefined,
  rows: RowRange | undefined,
): readonly FeatureSpec[] {
  const specs = names === undefined ? ref.features : [...new Set(names)].map((name) => featureOf(ref, name))
  return rows === undefined ? specs : specs.map((spec) => rowsOf(ref, spec, rows))
}

function featureOf(ref: SampleRef, name: string): FeatureSpec {
  const spec = ref.features.find((feature) => feature.name === name)
  if (spec !== undefined) return spec
  const expected = ref.features.map((feature) => feature.name).join(', ')
  throw finding('SPEC_MISMATCH', `${ref.sampleId} has no such feature`, {
    field: name,
    found: `the features ${expected}`,
    fix: 'use one of these names',
  })
}

function rowsOf(ref: SampleRef, spec: FeatureSpec, { start, end }: RowRange): FeatureSpec {
  const [there, ...rest] = spec.shape
  const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end)
  if (there !== undefined && whole && 0 <= start && start <= end && end <= there) {
    return { ...spec, shape: [end - start, ...rest] }
  }
  throw finding('SPEC_MISMATCH', `${ref.sampleId} has no such rows`, {
    field: spec.name,
    found: `rows ${start} to ${end} of ${inWords(spec)}`,
    fix: 'use rows of the first axis: 0 <= start <= end <= its length',
  })
}

/** Names a sample in an error's `file`: not every store has files. */
const whereIs = (ref: SampleRef): string => `${ref.sampleId}@${ref.generation} in store ${ref.storeId}`

const MAKE_AGAIN = 'remove the sample and run the producer again: it makes only the missing samples'

// The metadata names the sample. So a file that was moved over another one is detected and not returned in its place.
export function expectMetadata(ref: SampleRef, found: BlobMetadata): void {
  for (const [field, value] of Object.entries(metadataOf(ref))) {
    if (found[field] === value) continue
    throw finding('SAMPLE_CORRUPT', 'this object is not the sample that the ref names', {
      file: whereIs(ref),
      field: `__metadata__.${field}`,
      found: `${found[field] ?? 'nothing'}; the ref says ${value}`,
      fix: MAKE_AGAIN,
    })
  }
}

export function expectSpecs(ref: SampleRef, wanted: readonly FeatureSpec[], found: readonly FeatureSpec[]): void {
  for (const spec of wanted) {
    const there = found.find((feature) => feature.name === spec.name)
    if (there !== undefined && inWords(there) === inWords(spec)) continue
    throw finding('SPEC_MISMATCH', 'the stored tensor does not match the ref', {
      file: whereIs(ref),
      field: spec.name,
      found: `${there === undefined ? 'nothing' : inWords(there)}; the ref says ${inWords(spec)}`,
      fix: 'use the manifest that belongs to this store',
    })
  }
}

export function expectDigests(ref: SampleRef, { digests }: StoredBlob): void {
  for (const { name } of ref.features) {
    if (digests[name] !== undefined && digests[name] === ref.digests[name]) continue
    throw finding('SAMPLE_CORRUPT', 'the stored bytes differ from those that were put', {
      file: whereIs(ref),
      field: name,
      found: `${digests[name] ?? 'no digest'}; the ref says ${ref.digests[name] ?? 'nothing'}`,
      fix: MAKE_AGAIN,
    })
  }
}

const inWords = (spec: FeatureSpec): string => `${spec.dtype} [${spec.shape.join(', ')}]`
