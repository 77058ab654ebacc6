/** The signals that ask a command to stop, and the exit status of a command that they stopped. */
export const STOP_EXIT = { SIGINT: 130, SIGTERM: 143 } as const
export type StopSignal = keyof typeof STOP_EXIT

/**
 * Every failure this program can report. The code decides the exit status and whether a retry can help.
 * `ErrorCode` in python/draftbridge/bridge/errors.py lists the same codes; a test compares the two.
 */
export const errorTable = {
  CONFIG_INVALID: { exit: 64, retryable: false },
  REF_INVALID: { exit: 65, retryable: false },
  MANIFEST_INVALID: { exit: 65, retryable: false },
  SPEC_MISMATCH: { exit: 65, retryable: false },
  FEATURE_INVALID: { exit: 65, retryable: false },
  SAMPLE_CORRUPT: { exit: 65, retryable: false },
  CHECKPOINT_INVALID: { exit: 65, retryable: false },
  CONTRACT_MISMATCH: { exit: 65, retryable: false },
  EXPORT_MISMATCH: { exit: 65, retryable: false },
  SAMPLE_NOT_FOUND: { exit: 66, retryable: false },
  SAMPLE_STALE: { exit: 66, retryable: false },
  STORE_UNAVAILABLE: { exit: 69, retryable: true },
  PYTHON_UNAVAILABLE: { exit: 69, retryable: false },
  PEER_TIMEOUT: { exit: 69, retryable: true },
  PEER_FAILED: { exit: 69, retryable: false },
  PYTHON_RAISED: { exit: 70, retryable: false },
  OUT_OF_MEMORY: { exit: 70, retryable: false },
  RANK_DIED: { exit: 70, retryable: false },
  RANK_HUNG: { exit: 70, retryable: false },
  STORE_CLOSED: { exit: 70, retryable: false },
  STORE_OVER_BUDGET: { exit: 75, retryable: true },
  STORE_FULL: { exit: 75, retryable: true },
  STORE_BUSY: { exit: 75, retryable: true },
  STORE_AUTH: { exit: 77, retryable: false },
  INTERRUPTED: { exit: STOP_EXIT.SIGINT, retryable: false },
} as const satisfies Record<string, { exit: number; retryable: boolean }>

export type ErrorCode = keyof typeof errorTable
export const errorCodes = Object.keys(errorTable) as readonly ErrorCode[]

/** Where bad input was met: enough for the reader to open the right file at the right place and mend it. */
export interface Finding {
  readonly file?: string
  readonly field?: string
  readonly found?: string
  readonly fix?: string
}

interface Special {
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

type FindingCode = Exclude<ErrorCode, Exclude<keyof Special, 'SPEC_MISMATCH'>>

/** A CodedError whose text says what failed, where, what was found and what to do, always in that order. */
export function finding<C extends FindingCode>(
  code: C,
  what: string,
  where: Finding,
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

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorTable, text)

export function isErrno(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code)
}
