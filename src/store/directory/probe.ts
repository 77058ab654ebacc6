import { mkdir, readdir, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { errnoName, isErrno } from '../../core/errors.ts'
import { removedAtEnd } from '../../core/files/removed-at-end.ts'
import { unavailable } from '../../core/files/storage-error.ts'
import { replaceEmptyFolder } from '../../core/files/whole-folders.ts'
import { publish } from './durable.ts'

/**
 * Tries in `dir`, an empty folder of one's own, the steps that a file system may lack and claims are decided by.
 * @throws STORE_UNAVAILABLE naming the step.
 */
export async function expectOperations(dir: string): Promise<void> {
  await expectLinks(dir)
  await expectFolderRenames(dir)
}

// Publishing needs hard links, because a rename would replace what is there.
async function expectLinks(dir: string): Promise<void> {
  const [probe, second] = [path.join(dir, 'probe'), path.join(dir, 'probe.link')]
  await writeFile(probe, '', { mode: 0o600, flag: 'wx' })
  await using _probe = removedAtEnd(probe)
  await using _second = removedAtEnd(second)
  await publish(probe, second)
}

/** How a file system says that it cannot do this. Other errors, such as a full disk, say nothing about what it can do. */
const NOT_SUPPORTED = ['EPERM', 'EACCES', 'EEXIST', 'ENOTEMPTY', 'EINVAL', 'EISDIR', 'ENOTSUP', 'ENOSYS'] as const

// A claim is a folder that takes the place of an empty one, or of none.
async function expectFolderRenames(dir: string): Promise<void> {
  const first = path.join(dir, 'probe.first')
  const second = path.join(dir, 'probe.second')
  const place = path.join(dir, 'probe.place')
  await using _first = removedAtEnd(first)
  await using _second = removedAtEnd(second)
  await using _place = removedAtEnd(place)
  for (const each of [first, second, place]) await mkdir(each, { mode: 0o700 })
  for (const each of [first, second]) await writeFile(path.join(each, path.basename(each)), '', { mode: 0o600 })
  // Looked for in any case: NFS may do the rename and lose the answer.
  const error: unknown = await rename(first, place).catch((failed: unknown) => failed)
  if (!(await readdir(place)).includes(path.basename(first))) {
    if (!isErrno(error, ...NOT_SUPPORTED)) throw error
    throw lacks(place, `the rename of a folder over an empty one ends in ${errnoName(error) ?? 'an error'}`, error)
  }
  if (await replaceEmptyFolder(second, place)) throw lacks(place, 'a rename replaced a folder that was not empty')
}

function lacks(file: string, found: string, cause?: unknown): Error {
  const fix = 'put the store on a file system that renames folders as POSIX says (ext4, xfs, btrfs, NFS)'
  const what = 'this file system cannot put a folder in the place of an empty one, and the store needs it'
  return unavailable(what, { file, found, fix }, cause)
}
