import { readdir, rename, rmdir } from 'node:fs/promises'
import { isErrno } from '../errors.ts'

/** How file systems say that something is in a folder. sshfs knows one error for all refusals and says EPERM. */
const NOT_EMPTY = ['ENOTEMPTY', 'EEXIST'] as const
const REFUSED = ['EPERM', 'EACCES'] as const

/** Gives `prepared` the name of a folder that is empty or not there, in one step. False when something is in it. */
export function replaceEmptyFolder(prepared: string, folder: string): Promise<boolean> {
  return unlessFilled(folder, () => rename(prepared, folder))
}

/** False when something is in it. */
export function removeEmptyFolder(folder: string): Promise<boolean> {
  return unlessFilled(folder, () => rmdir(folder))
}

// The server has decided when the listing is read: it only tells this refusal from one for another reason.
async function unlessFilled(folder: string, task: () => Promise<void>): Promise<boolean> {
  try {
    await task()
    return true
  } catch (error) {
    if (isErrno(error, ...NOT_EMPTY)) return false
    if (!isErrno(error, ...REFUSED)) throw error
    const names = await readdir(folder).catch(() => [])
    if (names.length === 0) throw error
    return false
  }
}
