import { isErrno } from '../../../core/errors.ts'
import { unavailable } from '../../../core/files/storage-error.ts'

/** For `catch`: gives `value` where nothing is there, or where the error is one of `codes`. */
export const absent =
  <T>(value: T, ...codes: readonly string[]) =>
  (error: unknown): T => {
    if (isErrno(error, 'ENOENT', ...codes)) return value
    throw error
  }

export function noNotes(file: string): Error {
  const fix = 'mount the file system of the store again, then run the same command'
  return unavailable('the store is not there any more', { file, found: 'nothing', fix })
}
