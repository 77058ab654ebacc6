import { CodedError, errnoName, failuresOf, finding, isErrno } from '../errors.ts'

/** What a mount answers that is gone or cannot reach its server; python/draftbridge/bridge/file_systems.py has the same. */
const GONE = [
  ...['EIO', 'ENOTCONN', 'ESTALE', 'ESHUTDOWN', 'ETIMEDOUT', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENETDOWN', 'ENETUNREACH'],
  ...['ECONNABORTED', 'ECONNREFUSED', 'ECONNRESET', 'EREMOTEIO', 'ENODEV', 'ENXIO', 'ENOLINK'],
]
const ABOUT_A_FILE = ['CONFIG_INVALID', 'FEATURE_INVALID', 'MANIFEST_INVALID', 'CHECKPOINT_INVALID'] as const

const FREE_SPACE = 'free space or raise the quota, then run again: what is stored stays usable'

/**
 * Turns an error of the file system into a coded one, which says that `place` is full or cannot be reached. Any other
 * error is a bug and is returned unchanged. Of several failures that one error holds, the first decides. `near`: the
 * file to name when the error names none. `whenFull`: what the user can do about a full disk.
 */
export function storageError(thrown: unknown, near: string, place = 'the store', whenFull = FREE_SPACE): unknown {
  const { first, later } = failuresOf(thrown)
  const error = asCoded(first, near, place, whenFull)
  return later.length > 0 && error instanceof CodedError ? mentioning(error, later, thrown) : error
}

function asCoded(error: unknown, near: string, place: string, whenFull: string): unknown {
  if (error instanceof CodedError) return isGone(error) ? asUnreachable(error) : error
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return error
  const file = 'path' in error && typeof error.path === 'string' ? error.path : near
  const found = `${errnoName(error)} from ${error.syscall}`
  if (isErrno(error, 'ENOSPC', 'EDQUOT')) {
    return finding('STORE_FULL', `there is no space left in ${place}`, { file, found, fix: whenFull }, { cause: error })
  }
  const fix = isErrno(error, 'EMFILE', 'ENFILE')
    ? 'raise the limit of open files (ulimit -n), then run again'
    : undefined
  return unavailable(`${place} cannot be reached`, { file, found, ...(fix === undefined ? {} : { fix }) }, error)
}

// A file of which somebody says that it is damaged could only not be read.
function isGone({ code, cause }: CodedError): boolean {
  return (ABOUT_A_FILE as readonly string[]).includes(code) && isErrno(cause, ...GONE)
}

function asUnreachable({ cause, details }: CodedError): CodedError {
  const file = 'file' in details && details.file !== undefined ? details.file : 'unknown path'
  const found = cause instanceof Error ? cause.message : String(cause)
  return unavailable('a file cannot be reached', { file, found }, cause)
}

/** The same error, whose text says what failed after it. */
function mentioning<T extends CodedError>(error: T, later: readonly unknown[], cause: unknown): CodedError {
  const lines = later.map((each) => `  then:  ${each instanceof Error ? each.message.split('\n')[0] : String(each)}`)
  const text = [error.message, ...new Set(lines)].join('\n')
  return new CodedError(error.code, text, error.details, { cause })
}

export function unavailable(
  what: string,
  where: { readonly file: string; readonly field?: string; readonly found: string; readonly fix?: string },
  cause?: unknown,
): CodedError {
  const fix = 'check that the directory is mounted, writable and owned by this user'
  return finding('STORE_UNAVAILABLE', what, { fix, ...where }, cause === undefined ? {} : { cause })
}
