import { type CodedError, errnoName, finding, isErrno } from '../errors.ts'

const FREE_SPACE = 'free space or raise the quota, then run again: what is stored stays usable'

/**
 * Turns an error of the file system into a coded one, which says that `place` is full or cannot be reached. Any other
 * error is a bug and is returned unchanged. `near`: the file to name when the error names none. `whenFull`: what the
 * user can do about a full disk.
 */
export function storageError(error: unknown, near: string, place = 'the store', whenFull = FREE_SPACE): unknown {
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

export function unavailable(
  what: string,
  where: { readonly file: string; readonly field?: string; readonly found: string; readonly fix?: string },
  cause?: unknown,
): CodedError {
  const fix = 'check that the directory is mounted, writable and owned by this user'
  return finding('STORE_UNAVAILABLE', what, { fix, ...where }, cause === undefined ? {} : { cause })
}
