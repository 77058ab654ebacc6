import { randomUUID } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../errors.ts'
import { askAgain } from './ask-again.ts'

/** Replaces the content of `file` in one step: a reader sees the old or the new text, also after a power loss. */
export async function replaceFile(file: string, text: string): Promise<void> {
  const staged = `${file}.${randomUUID()}.tmp`
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

/** Makes the bytes of a file, or the entries of a folder, survive a power loss. */
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
    // A reader of a file that is replaced meanwhile may get ESTALE; the name stands for the new one then.
    return await askAgain(() => readFile(file, 'utf8'))
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null
    // Node's error of a read does not name the file.
    throw error instanceof Error ? Object.assign(error, { path: file }) : error
  }
}
