import { type CodedError, finding, hasCode, isErrno } from '../../core/errors.ts'
import { type BlobKey, keyText } from '../blob-key.ts'

/** Null when this member was fenced: then it may publish nothing. */
export async function unlessFenced<T>(task: () => Promise<T>): Promise<T | null> {
  try {
    return await task()
  } catch (error) {
    if (isErrno(error, 'ENOENT') || hasCode(error, 'STORE_BUSY')) return null
    throw error
  }
}

export function claimed(key: BlobKey, by: string): CodedError {
  return finding('STORE_BUSY', 'this sample is claimed already', {
    field: keyText(key),
    found: `held by ${by}`,
    fix: 'use another sample; this one can be claimed again after its holder gives it back or ends',
  })
}
