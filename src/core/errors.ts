import { constants } from 'node:os'
import { type ErrorCode, errorTable, STOP_EXIT, type StopSignal } from './error-table.ts'

export { type ErrorCode, errorCodes, errorTable, STOP_EXIT, type StopSignal } from './error-table.ts'

/** Where bad input was met: enough for the reader to open the right file at the right place and mend it. */
export interface Finding {
  readonly file?: string
  readonly field?: string
  readonly found?: string
  readonly fix?: string
}

/** `column`: of the tensor that `field` names. `state`: the state, with its layer, that holds values which are no numbers. */
export type BadFeature = Finding & { readonly column?: number; readonly state?: string }

interface Special {
  FEATURE_INVALID: BadFeature
  SPEC_MISMATCH: Finding & { readonly expected?: string }
  SAMPLE_NOT_FOUND: { readonly sampleId: string; readonly generation: number }
  SAMPLE_STALE: { readonly sampleId: string; readonly generation: number; readonly current: number }
  PYTHON_RAISED: { readonly op: string; readonly type: string; readonly traceback: string }
  RANK_DIED: { readonly rank: number; readonly exitCode?: number; readonly signal?: string; readonly phase?: string }
  RANK_HUNG: { readonly rank: number; readonly phase?: string }
  INTERRUPTED: { readonly signal: StopSignal }
}
export type Details<C extends ErrorCode> = C extends keyof Special ? Special[C] : Finding

export class CodedError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'CodedError'
  readonly code: C
  readonly details: Details<C>

  constructor(code: C, message: string, details: Details<C>, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
    this.details = details
  }

  get exitCode(): number {
    const { exit } = errorTable[this.code]
    return hasCode(this, 'INTERRUPTED') && this.details.signal === 'SIGTERM' ? STOP_EXIT.SIGTERM : exit
  }

  get retryable(): boolean {
    return errorTable[this.code].retryable
  }
}

type FindingCode = Exclude<ErrorCode, Exclude<keyof Special, 'SPEC_MISMATCH' | 'FEATURE_INVALID'>>

/** A CodedError whose text says what failed, where, what was found and what to do, always in that order. */
export function finding<C extends FindingCode>(
  code: C,
  what: string,
  where: Details<C> & Finding,
  options?: { cause?: unknown },
): CodedError<C> {
  const parts = [what]
  if (where.file !== undefined) parts.push(`  file:  ${where.file}`)
  if (where.field !== undefined) parts.push(`  field: ${where.field}`)
  if (where.found !== undefined) parts.push(`  found: ${where.found}`)
  if (where.fix !== undefined) parts.push(`  fix:   ${where.fix}`)
  return new CodedError<C>(code, parts.join('\n'), where as Details<C>, options)
}

export function hasCode<C extends ErrorCode>(error: unknown, ...codes: C[]): error is CodedError<C> {
  return error instanceof CodedError && (codes as ErrorCode[]).includes(error.code)
}

/**
 * What failed first, of an error in which several failures meet: a clean-up after it failed too (SuppressedError), or
 * tasks failed side by side (AggregateError). `later`: the others, for people to read.
 */
export function failuresOf(thrown: unknown): { readonly first: unknown; readonly later: readonly unknown[] } {
  const [first = thrown, ...later] = inTheirOrder(thrown)
  return { first, later }
}

function inTheirOrder(thrown: unknown): readonly unknown[] {
  if (!(thrown instanceof Error)) return [thrown]
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return thrown.errors.flatMap(inTheirOrder)
  // By its name: Node 20 and 22 do not have the class, and each compiler brings one of its own.
  if (thrown.name !== 'SuppressedError' || !('suppressed' in thrown) || !('error' in thrown)) return [thrown]
  return [...inTheirOrder(thrown.suppressed), ...inTheirOrder(thrown.error)]
}

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorTable, text)

export function isErrno(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  const name = errnoName(error)
  return name !== null && codes.includes(name)
}

/** Node gives these no code of their own: 'Unknown system error -116'. */
const UNNAMED = new Map(['ESTALE' as const, 'EDQUOT' as const].map((name) => [-constants.errno[name], name]))

/** The name of a system error; null for what is none. */
export function errnoName(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null
  const number = 'errno' in error && typeof error.errno === 'number' ? error.errno : 0
  return UNNAMED.get(number) ?? error.code
}
