import type { CodedError } from '../../core/errors.ts'

/** A conversation to write, or an input that is none. */
export type GenerateInput =
  | { readonly kind: 'conversation'; readonly id: string; readonly where: string; readonly json: string }
  | { readonly kind: 'refused'; readonly error: CodedError<'FEATURE_INVALID'> }
