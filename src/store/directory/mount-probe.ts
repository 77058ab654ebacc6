import { mkdir, open, readdir, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { errnoName, isErrno } from '../../core/errors.ts'
import { removedAtEnd } from '../../core/files/removed-at-end.ts'
import { unavailable } from '../../core/files/storage-error.ts'
import { replaceEmptyFolder } from '../../core/files/whole-folders.ts'
import { publish } from './durable.ts'
import { trySecondProcess } from './second-process.ts'

/**
 * Tries in `dir`, an empty folder of one's own, the steps that a store stands on and that a file system may lack.
 * `secondProcess`: also whether they hold between two processes.
 * @throws STORE_UNAVAILABLE naming the step that failed.
 */
export async function probeMount(dir: string, secondProcess: boolean): Promise<void> {
  await expectNames(dir)
  await expectLinks(dir)
  await expectFolderRenames(dir)
  const failed = secondProcess ? await trySecondProcess(dir) : null
  if (failed !== null) throw lacks(dir, 'decide between two processes', failed)
}

/** How a file system says that it cannot do this. Other errors, such as a full disk, say nothing about what it can do. */
const NOT_SUPPORTED = ['EPERM', 'EACCES', 'EEXIST', 'ENOTEMPTY', 'EINVAL', 'EISDIR', 'ENOTSUP', 'ENOSYS'] as const

// Names of samples have up to 229 characters, contain `:`, and may differ by case only.
async function expectNames(dir: string): Promise<void> {
  const name = `probe:${'n'.repeat(233)}`
  const [file, upper] = [path.join(dir, name), path.join(dir, name.toUpperCase())]
  await using _file = removedAtEnd(file)
  await using _upper = removedAtEnd(upper)
  const error: unknown = await createTwice(file).catch((failed: unknown) => failed)
  if (isErrno(error, 'EINVAL', 'ENAMETOOLONG', 'EPERM', 'EILSEQ')) {
    const found = `${errnoName(error) ?? 'an error'} for a name of 239 characters with a colon`
    throw lacks(dir, 'keep the names of samples', found, error)
  }
  if (error === 'both') throw lacks(dir, 'refuse to create a file twice', 'a second exclusive creation succeeded')
  if (error !== 'one') throw error
  if ((await createTwice(upper)) === 'none') {
    throw lacks(dir, 'keep names apart that differ by case only', 'one file for two such names')
  }
}

/** How many of two exclusive creations of one name succeed. */
async function createTwice(file: string): Promise<'none' | 'one' | 'both'> {
  if (!(await created(file))) return 'none'
  return (await created(file)) ? 'both' : 'one'
}

async function created(file: string): Promise<boolean> {
  try {
    await (await open(file, 'wx', 0o600)).close()
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  }
}

// Publishing needs hard links, because a rename would replace what is there; out of one folder into another.
async function expectLinks(dir: string): Promise<void> {
  const [probe, folder] = [path.join(dir, 'probe'), path.join(dir, 'probe.folder')]
  await using _probe = removedAtEnd(probe)
  await using _folder = removedAtEnd(folder)
  await writeFile(probe, '', { mode: 0o600, flag: 'wx' })
  await mkdir(folder, { mode: 0o700 })
  await publish(probe, path.join(folder, 'probe'))
}

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
  const what = 'put a folder in the place of an empty one'
  if (!(await readdir(place)).includes(path.basename(first))) {
    if (!isErrno(error, ...NOT_SUPPORTED)) throw error
    throw lacks(
      place,
      what,
      `the rename of a folder over an empty one ends in ${errnoName(error) ?? 'an error'}`,
      error,
    )
  }
  if (await replaceEmptyFolder(second, place)) {
    throw lacks(place, what, 'a rename replaced a folder that was not empty')
  }
}

function lacks(file: string, what: string, found: string, cause?: unknown): Error {
  const fix =
    'put the store on a file system that does as POSIX says (ext4, xfs, btrfs, NFS); docs/file-systems.md names others'
  return unavailable(`this file system cannot ${what}, and the store needs it`, { file, found, fix }, cause)
}
