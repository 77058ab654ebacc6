import { type CodedError, finding } from '../../core/errors.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import type { DraftArchitecture } from '../../drafts/architecture.ts'

type Refused = CodedError<'FEATURE_INVALID'>

/**
 * `error` with the layer in which values are no numbers: Python knows the tensor and its column, and not of which layers
 * it is made. Any other error as it is.
 */
export function withLayer(
  error: Refused,
  { states }: Pick<DraftArchitecture, 'states'>,
  { shape, auxLayers }: Pick<CaptureContract, 'shape' | 'auxLayers'>,
): Refused {
  const { column, field } = error.details
  const state = states.find(({ name }) => name === field)
  if (column === undefined || state === undefined) return error
  const layer = state.source === 'aux' ? auxLayers[Math.floor(column / shape.hiddenSize)] : undefined
  const named = layer === undefined ? state.name : `${state.name}, layer ${layer}`
  const [what = error.message] = error.message.split('\n')
  return finding('FEATURE_INVALID', what, { ...error.details, field: named, state: named }, { cause: error })
}
