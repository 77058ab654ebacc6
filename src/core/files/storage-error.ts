import { type CodedError, finding, isErrno } from '../errors.ts'

const ROOM = 'free space or raise the quota, then run again: what is stored stays usable'

/**
 * What a file system's refusal means for what lies there. What is no refusal (a bug) comes back as it is. `near`: for the
 * refusals that do not say which file they are about. `room`: how to make some.
 */
export function storageError(error: unknown, near: string, place = 'the store', room = ROOM): unknown {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return error
  const file = 'path' in error && typeof error.path === 'string' ? error.path : near
  const found = `${error.code} from ${error.syscall}`
  if (isErrno(error, 'ENOSPC', 'EDQUOT')) {
    return finding('STORE_FULL', `there is no room left in ${place}`, { file, found, fix: room }, { cause: error })
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
