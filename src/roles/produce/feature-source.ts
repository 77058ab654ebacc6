import type { TensorSet } from '../../bridge/tensor-set.ts'
import { type CodedError, finding, hasCode } from '../../core/errors.ts'
import type { SampleId } from '../../core/ids.ts'
import type { Provenance, SampleFacts, SampleRef } from '../../core/sample-ref.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import type { ExternFile } from '../../store/blobs/blobs.ts'

/** The result for one input. */
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
  /** Owned by whoever receives the item. */
  readonly tensors: TensorSet
  readonly numTokens: number
  readonly facts: SampleFacts & { readonly trainedTokens: number }
  readonly provenance: Provenance
  /** The file that already holds tensors of this sample. */
  readonly extern?: ExternFile
  /** Why the tensors could not stay in their file. */
  readonly copied?: string
}

/** Whether a sample is stored and published already. Called once for each input, several at a time. */
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
  /** False when the input of a published ref has changed since. */
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
