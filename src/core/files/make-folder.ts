import { constants } from 'node:fs'
import { access, mkdir } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../errors.ts'
import { storageError } from './storage-error.ts'

const UNUSABLE = ['EACCES', 'EPERM', 'EROFS', 'EEXIST', 'ENOTDIR', 'ENOENT', 'ENAMETOOLONG', 'ELOOP'] as const

/** Makes `dir` and all above it. @throws CONFIG_INVALID naming `field` when it cannot be made or written in. */
export async function makeFolder(dir: string, field: string): Promise<void> {
  try {
    await makeDirectories(dir, 0o777)
    // A trailing slash refuses what is no folder.
    await access(`${dir}/`, constants.W_OK)
  } catch (cause) {
    if (!isErrno(cause, ...UNUSABLE)) throw storageError(cause, dir, 'the folder')
    const where = { field, file: dir, found: cause.message, fix: 'name a folder that can be written' }
    throw finding('CONFIG_INVALID', 'this folder cannot be used', where, { cause })
  }
}

/**
 * `dir` and all above it. Node's own recursive mkdir says ENOENT of a full disk, and of every other refusal that it has
 * no name for.
 */
export async function makeDirectories(dir: string, mode = 0o700): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await mkdir(dir, { mode })
      return
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return
      // The one above may also go away again between two steps, when somebody clears what is empty.
      if (!isErrno(error, 'ENOENT') || attempt === 100 || path.dirname(dir) === dir) throw error
      await makeDirectories(path.dirname(dir), mode)
    }
  }
}
