import { constants } from 'node:fs'
import { access, mkdir } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../errors.ts'
import { storageError } from './storage-error.ts'

const UNUSABLE = ['EACCES', 'EPERM', 'EROFS', 'EEXIST', 'ENOTDIR', 'ENOENT', 'ENAMETOOLONG', 'ELOOP'] as const

/** Makes `dir` and its parents. @throws CONFIG_INVALID naming `field` when it cannot be made or written in. */
export async function makeFolder(dir: string, field: string): Promise<void> {
  try {
    await makeDirectories(dir, 0o777)
    // With the trailing slash it fails for anything but a folder.
    await access(`${dir}/`, constants.W_OK)
  } catch (cause) {
    if (!isErrno(cause, ...UNUSABLE)) throw storageError(cause, dir, 'the folder')
    const where = { field, file: dir, found: cause.message, fix: 'name a folder that can be written' }
    throw finding('CONFIG_INVALID', 'this folder cannot be used', where, { cause })
  }
}

/**
 * Makes `dir` and its parents, those below `below` only: where a mount is gone nothing may be made in its place, and the
 * error is ENOENT. Node's own recursive mkdir reports a full disk, and every error that it does not know, as ENOENT.
 */
export async function makeDirectories(dir: string, mode = 0o700, below: string | null = null): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await mkdir(dir, { mode })
      return
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return
      // Another process may remove the empty parent between two steps.
      const above = path.dirname(dir)
      if (!isErrno(error, 'ENOENT') || attempt === 100 || above === dir || above === below) throw error
      await makeDirectories(above, mode, below)
    }
  }
}
