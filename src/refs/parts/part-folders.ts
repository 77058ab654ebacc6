import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../../core/errors.ts'

export const partName = (index: number): string => `part-${String(index).padStart(3, '0')}`

/** The folder of one part of the manifest in `dir`. */
export const partFolder = (dir: string, index: number): string => path.join(dir, partName(index))

/** The indices of the parts that have a folder in `dir`, ascending. */
export async function partIndices(dir: string): Promise<readonly number[]> {
  const indices = (await namesIn(dir)).flatMap((name) => {
    const index = Number(/^part-(\d{3,9})$/.exec(name)?.[1])
    return partName(index) === name ? [index] : []
  })
  return indices.sort((a, b) => a - b)
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return []
    throw error
  }
}
