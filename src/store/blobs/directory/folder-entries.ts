import type { Stats } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../../../core/errors.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import type { FoundFile } from '../inventory.ts'

/** Read at the same time: enough to keep a remote file system busy. */
const AT_ONCE = 64

/** The names in a folder with what lies there, links not followed, in any order. What vanishes meanwhile is left out. */
export async function* entriesOf(dir: string): AsyncIterable<readonly [string, Stats]> {
  const names = await namesIn(dir)
  for (let at = 0; at < names.length; at += AT_ONCE) {
    const some = names.slice(at, at + AT_ONCE)
    const infos = await Promise.all(some.map((name) => lstatOrNull(path.join(dir, name))))
    for (const [index, info] of infos.entries()) if (info !== null) yield [some[index] ?? '', info]
  }
}

/** Empty for a folder that is not there. */
export async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw storageError(error, dir)
  }
}

export async function lstatOrNull(file: string): Promise<Stats | null> {
  try {
    return await lstat(file)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw storageError(error, file)
  }
}

/** Tells files of one file system apart. Exact: inode numbers of Lustre and others do not fit into a JavaScript number. */
export async function inodeOrNull(file: string): Promise<bigint | null> {
  try {
    return (await lstat(file, { bigint: true })).ino
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw storageError(error, file)
  }
}

export const foundFile = (file: string, info: Stats): FoundFile => ({
  file,
  bytes: info.size,
  modifiedMs: info.mtimeMs,
  touchedMs: Math.max(info.mtimeMs, info.ctimeMs),
})
