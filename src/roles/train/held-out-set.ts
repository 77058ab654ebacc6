import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import type { RefList } from '../../refs/manifest.ts'
import type { RunIdentity } from '../../train/checkpoints/checkpoint-record.ts'
import { heldOut, SomeRefs } from '../../train/data/held-out.ts'
import type { Refs } from '../../train/data/sample-reader.ts'

/** Samples, numbered from 0, with their lengths. */
export interface SampleSet {
  readonly refs: Refs
  /** In tokens, cut at data.maxLength. */
  readonly lengths: readonly number[]
}

export interface Split {
  readonly training: SampleSet
  /** Null: there is no validation. */
  readonly validation: SampleSet | null
  /** What it adds to the identity of the run. */
  readonly identity: RunIdentity
}

export interface SplitSources {
  readonly refs: RefList
  /** Those of train.validation.manifest. */
  readonly validationRefs: RefList | null
  readonly settings: RunConfig['train']['validation']
  readonly maxLength: number
  readonly seed: number
}

/**
 * Which samples are trained on and which are validated: the same on every rank, for any number of ranks, after a resume.
 * @throws CONFIG_INVALID when nothing is left to train on, or a sample would be in both.
 */
export function split(sources: SplitSources): Split {
  const { refs, validationRefs, settings, maxLength, seed } = sources
  const all = setOf(refs, maxLength)
  if (settings === null) return { training: all, validation: null, identity: {} }
  const { share, limit } = settings
  if (share === null) {
    if (validationRefs === null) throw withoutRefs()
    requireDisjoint(refs, validationRefs)
    const chosen = heldOut(validationRefs, { share: 1, limit, seed })
    const identity = { 'train.validation': { features: validationRefs.contentDigest(), limit } }
    return { training: all, validation: some(setOf(validationRefs, maxLength), chosen), identity }
  }
  const chosen = heldOut(refs, { share, limit, seed })
  const held = new Set(chosen)
  const rest = all.lengths.map((_, index) => index).filter((index) => !held.has(index))
  if (rest.length === 0) throw nothingLeft(share, refs.length)
  return {
    training: some(all, rest),
    validation: some(all, chosen),
    identity: { 'train.validation': { share, limit } },
  }
}

function setOf(refs: RefList, maxLength: number): SampleSet {
  return { refs, lengths: Array.from({ length: refs.length }, (_, at) => Math.min(refs.tokens(at), maxLength)) }
}

function some({ refs, lengths }: SampleSet, indices: readonly number[]): SampleSet {
  return { refs: new SomeRefs(refs, indices), lengths: indices.map((index) => lengths[index] ?? 0) }
}

function requireDisjoint(training: RefList, validation: RefList): void {
  const held = new Set(validation.map(({ sampleId }) => sampleId))
  const shared = [...training].map(({ sampleId }) => sampleId).filter((sampleId) => held.has(sampleId))
  if (shared.length === 0) return
  throw finding('CONFIG_INVALID', 'the training and the validation manifest share samples', {
    field: 'train.validation.manifest',
    found: `${shared.length} samples in both; the first is ${shared[0]}`,
    fix: 'produce the validation samples from other conversations, or use train.validation.share',
  })
}

const nothingLeft = (share: number, samples: number): Error =>
  finding('CONFIG_INVALID', 'validation leaves no sample to train on', {
    field: 'train.validation.share',
    found: `${share} of ${samples} sample(s)`,
    fix: 'make it smaller, or produce more samples',
  })

const withoutRefs = (): Error =>
  finding('CONFIG_INVALID', 'the config names a validation manifest, and its samples were not given', {
    field: 'train.validation.manifest',
    found: 'no samples',
    fix: 'give `validation` with the training data, or use train.validation.share',
  })
