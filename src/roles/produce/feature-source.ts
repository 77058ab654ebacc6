import type { TensorSet } from '../../bridge/tensor-set.ts'
import { type CodedError, finding, hasCode } from '../../core/errors.ts'
import type { SampleId } from '../../core/ids.ts'
import type { Provenance, SampleFacts, SampleRef } from '../../core/sample-ref.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import type { EventBody } from '../../report/events/events.ts'
import type { ExternFile } from '../../store/blobs/blobs.ts'

/** The result for one input. */
export type SourceItem =
  /** An earlier run published this sample, and it is still stored. */
  | { readonly kind: 'known'; readonly isPart?: boolean }
  /** The sample has no trained token, so it is not stored. `where`: as `origin`. */
  | { readonly kind: 'empty'; readonly truncated: boolean; readonly where: string; readonly isPart?: boolean }
  /** The input is bad. Its error names the input. */
  | {
      readonly kind: 'refused'
      readonly error: CodedError<'FEATURE_INVALID'>
      /** A further sample of an input that gave one already. */
      readonly isPart?: boolean
    }
  | SourceSample

export interface SourceSample {
  readonly kind: 'sample'
  readonly sampleId: SampleId
  /** A further sample of an input that gave one already. */
  readonly isPart?: boolean
  /** The input file or line, for messages. */
  readonly origin: string
  /** The receiver of the item owns them. */
  readonly tensors: TensorSet
  readonly numTokens: number
  readonly facts: SampleFacts & { readonly trainedTokens: number; readonly order: number }
  readonly provenance: Provenance
  /** The file that already holds tensors of this sample. */
  readonly extern?: ExternFile
  /** Why the tensors could not stay in their file. */
  readonly copied?: string
}

/** What is known of a sample before its features are. */
export interface Foreknown {
  /** Where its input stands among all inputs. */
  readonly order: number
  readonly tokens?: TensorSet
}

/**
 * Whether a sample is already stored and published; with `tokens`, also with the same tokens and mask. Called once per
 * sample; several calls may run at the same time.
 */
export type IsKnown = (sampleId: SampleId, about: Foreknown) => Promise<boolean>

/** A source of samples. It keeps only a few samples in memory, whatever the number of inputs. */
export interface FeatureSource extends AsyncDisposable {
  readonly contract: CaptureContract
  /** All inputs, or those of the part, in any order: each sample says where its input stands. */
  items(isKnown: IsKnown): AsyncGenerator<SourceItem>
}

/** The facts about a source that need no expensive work such as loading the target's weights. */
export interface SourcePlan {
  /** Changes when the inputs or `data.maxLength` change. */
  readonly inputs: string
  /** Inputs, of the part where only a part is produced. */
  readonly total: number
  /** False when the input of a published ref has changed since it was published. */
  isCurrent(ref: SampleRef): boolean
  /** What was found before any work, to be shown first. */
  readonly found?: Extract<EventBody, { event: 'produce.found' }>
  open(): Promise<FeatureSource>
}

/** Runs `task`. A FEATURE_INVALID of `task` then names `origin`, because Python does not know the user's file. */
export async function withOrigin<T>(origin: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    throw hasCode(error, 'FEATURE_INVALID') ? atOrigin(error, origin) : error
  }
}

export function atOrigin(error: CodedError<'FEATURE_INVALID'>, origin: string): CodedError<'FEATURE_INVALID'> {
  const [what = error.message] = error.message.split('\n')
  return finding('FEATURE_INVALID', what, { ...error.details, file: origin }, { cause: error })
}
