import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../../src/core/errors.ts'

/** All files below `dir`, as paths from it; none when there is no such folder. */
export async function filesBelow(dir: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => path.relative(dir, path.join(entry.path, entry.name)))
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}
