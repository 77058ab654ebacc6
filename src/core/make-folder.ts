import { constants } from 'node:fs'
import { access, mkdir } from 'node:fs/promises'
import { finding, isErrno } from './errors.ts'
import { storageError } from './storage-error.ts'

// ENOENT too: it is what Node's recursive mkdir says of a read-only mount.
const UNUSABLE = ['EACCES', 'EPERM', 'EROFS', 'EEXIST', 'ENOTDIR', 'ENOENT', 'ENAMETOOLONG', 'ELOOP'] as const

/** Makes `dir` and all above it. @throws CONFIG_INVALID naming `field` when it cannot be made or written in. */
export async function makeFolder(dir: string, field: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true })
    await access(dir, constants.W_OK)
  } catch (cause) {
    if (!isErrno(cause, ...UNUSABLE)) throw storageError(cause, dir, 'the folder')
    const where = { field, file: dir, found: cause.message, fix: 'name a folder that can be written' }
    throw finding('CONFIG_INVALID', 'this folder cannot be used', where, { cause })
  }
}
