import type { TensorSet } from '../../bridge/tensor-set.ts'
import { type CodedError, finding, hasCode } from '../../core/errors.ts'
import type { SampleId } from '../../core/ids.ts'
import type { Provenance, SampleFacts, SampleRef } from '../../core/sample-ref.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import type { ExternFile } from '../../store/blobs/blobs.ts'

/** One input and what became of it. */
export type SourceItem =
  /** Published by an interrupted run, and still there. */
  | { readonly kind: 'known' }
  /** No trained token: nothing to learn from. */
  | { readonly kind: 'empty'; readonly truncated: boolean }
  | SourceSample

export interface SourceSample {
  readonly kind: 'sample'
  readonly sampleId: SampleId
  /** Where it came from, for messages. */
  readonly origin: string
  /** The taker's. */
  readonly tensors: TensorSet
  readonly numTokens: number
  readonly facts: SampleFacts & { readonly trainedTokens: number }
  readonly provenance: Provenance
  /** The file that tensors of it lie in already. */
  readonly extern?: ExternFile
  /** Why they do not lie there as they are, although they were to stay. */
  readonly copied?: string
}

/** Says whether a sample need not be made; asked once for each input before it is made, several at a time. */
export type IsKnown = (sampleId: SampleId) => Promise<boolean>

/** Where features come from. Holds a few samples at a time, whatever the size of the set. */
export interface FeatureSource extends AsyncDisposable {
  readonly contract: CaptureContract
  /** All inputs in their fixed order. */
  items(isKnown: IsKnown): AsyncGenerator<SourceItem>
}

/** What is known of a source before anything expensive, such as the target's weights, is loaded. */
export interface SourcePlan {
  /** Changes when the inputs or the way they are cut change. */
  readonly inputs: string
  readonly total: number
  /** False when the input that a published ref was made from is another one now. */
  isCurrent(ref: SampleRef): boolean
  open(): Promise<FeatureSource>
}

/** Runs `task`, and lets its FEATURE_INVALID name `origin`: Python knows the sample, but not the user's file. */
export async function named<T>(origin: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    throw hasCode(error, 'FEATURE_INVALID') ? renamed(error, origin) : error
  }
}

export function renamed(error: CodedError<'FEATURE_INVALID'>, origin: string): CodedError {
  const [what = error.message] = error.message.split('\n')
  return finding('FEATURE_INVALID', what, { ...error.details, file: origin }, { cause: error })
}
