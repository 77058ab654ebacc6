import { open, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../errors.ts'

/** Puts `text` at `file` so that a reader, or a machine that loses power, sees the old content or all of the new. */
export async function replaceFile(file: string, text: string): Promise<void> {
  const staged = `${file}.${process.pid}.tmp`
  try {
    const handle = await open(staged, 'w')
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(staged, file)
  } catch (error) {
    await rm(staged, { force: true })
    throw error
  }
  await syncPath(path.dirname(file))
}

/** Makes a file's bytes, or a folder's entries, survive the loss of power. */
export async function syncPath(target: string): Promise<void> {
  const handle = await open(target, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export async function readTextOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null
    // The system does not say what it could not read.
    throw error instanceof Error ? Object.assign(error, { path: file }) : error
  }
}
