import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../errors.ts'
import { type PlainRead, readPlain } from './plain-file.ts'

/** Replaces the content of `file` in one step: a reader sees the old or the new text, also after a power loss. */
export async function replaceFile(file: string, text: string, mode = 0o666): Promise<void> {
  const staged = `${file}.${randomUUID()}.tmp`
  try {
    await writeFile(staged, text, { flag: 'wx', flush: true, mode })
    await rename(staged, file)
  } catch (error) {
    await rm(staged, { force: true }).catch(() => undefined)
    throw error
  }
  await syncFolder(path.dirname(file))
}

/** Makes the entries of a folder survive a power loss. */
export async function syncFolder(dir: string): Promise<void> {
  await using handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY)
  await handle.sync()
}

/** The text of a file in a folder that others can write to; null when there is none. */
export async function readTextOrNull(file: string, how: PlainRead = {}): Promise<string | null> {
  try {
    return (await readPlain(file, how)).toString('utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null
    // Node's error of a read does not name the file.
    throw error instanceof Error ? Object.assign(error, { path: file }) : error
  }
}
