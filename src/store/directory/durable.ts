import { lstat, writeFile } from 'node:fs/promises'
import { errnoName, isErrno } from '../../core/errors.ts'
import { removedAtEnd } from '../../core/files/removed-at-end.ts'
import { unavailable } from '../../core/files/storage-error.ts'
import { remoteCalls } from './name-calls.ts'

/** EXDEV: only within one folder, as on BeeGFS. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV'] as const

function withoutLinks(error: NodeJS.ErrnoException, file: string): Error {
  const fix = 'put the store on a file system that has them (ext4, xfs, btrfs, NFS; not FAT, exFAT or most FUSE mounts)'
  const where = { file, found: `${errnoName(error)} from link`, fix }
  return unavailable('this file system has no hard links between folders, and the store needs them', where, error)
}

/**
 * Gives `staged` the name `final`, which must be free, in one step. False when that name is taken.
 * A link and not a rename: a rename would replace what is there.
 */
export async function publish(staged: string, final: string, calls = remoteCalls): Promise<boolean> {
  try {
    await calls.link(staged, final)
    return true
  } catch (error) {
    if (isErrno(error, ...NO_LINKS)) throw withoutLinks(error, final)
    if (!isErrno(error, 'EEXIST')) throw error
    // NFS may do the link and lose the answer; the second try then says EEXIST of our own file.
    await calls.refresh(final)
    // Exact: inode numbers of Lustre and others do not fit into a JavaScript number.
    const [ours, theirs] = await Promise.all([staged, final].map((file) => lstat(file, { bigint: true })))
    return ours?.ino === theirs?.ino && ours?.dev === theirs?.dev
  }
}

/** Writes a small file under a name that must be free. False when another process was first. */
export async function writeExclusive(file: string, staged: string, text: string): Promise<boolean> {
  await using _staged = removedAtEnd(staged)
  await writeFile(staged, text, { mode: 0o600, flag: 'wx', flush: true })
  return await publish(staged, file)
}
