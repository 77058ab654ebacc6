import { type CodedError, finding, isErrno } from '../../core/errors.ts'

/** What a file system's refusal means for the store. What is no refusal (a bug) comes back as it is. */
export function storageError(error: unknown, file: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return error
  const found = `${error.code} from ${error.syscall}`
  if (isErrno(error, 'ENOSPC', 'EDQUOT')) {
    const fix = 'free space or raise the quota, then run again: what is stored stays usable'
    return finding('STORE_FULL', 'there is no room left in the store', { file, found, fix }, { cause: error })
  }
  return unavailable('the store cannot be reached', { file, found }, error)
}

export function unavailable(
  what: string,
  where: { readonly file: string; readonly field?: string; readonly found: string; readonly fix?: string },
  cause?: unknown,
): CodedError {
  const fix = 'check that the directory is mounted, writable and owned by this user'
  return finding('STORE_UNAVAILABLE', what, { fix, ...where }, cause === undefined ? {} : { cause })
}
