import { readdir, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../errors.ts'

/** What lies below a folder, by paths relative to it. */
export interface NamesBelow {
  /** All that are no folders, in no order. Links to nothing are among them. */
  readonly names: readonly string[]
  /** Linked folders that were not entered, because they are entered under another path. */
  readonly again: readonly string[]
}

/** A folder that cannot be read: `error` says why. */
export class UnreadableFolder extends Error {
  readonly folder: string
  readonly error: unknown

  constructor(folder: string, error: unknown) {
    super(`${folder} cannot be read`, { cause: error })
    this.folder = folder
    this.error = error
  }
}

/**
 * Enters each folder once, so links in a circle end and two links to a folder do not double what lies in it. The path
 * without links is the one that counts. @throws UnreadableFolder.
 */
export async function namesBelow(base: string): Promise<NamesBelow> {
  const seen = new Set<string>()
  const names: string[] = []
  const again: string[] = []
  for (let folders = ['']; folders.length > 0; ) {
    const linked: string[] = []
    for (let folder = folders.shift(); folder !== undefined; folder = folders.shift()) {
      const real = await readable(path.join(base, folder), (dir) => realpath(dir))
      if (seen.has(real)) {
        again.push(folder)
        continue
      }
      seen.add(real)
      const found = await entriesOf(base, folder)
      names.push(...found.names)
      folders.push(...found.folders)
      linked.push(...found.linked)
    }
    folders = linked.sort()
  }
  return { names, again }
}

async function entriesOf(base: string, folder: string) {
  const entries = await readable(path.join(base, folder), (dir) => readdir(dir, { withFileTypes: true }))
  const found = { names: [] as string[], folders: [] as string[], linked: [] as string[] }
  for (const entry of entries) {
    const name = path.join(folder, entry.name)
    const isLinked = entry.isSymbolicLink() && (await leadsToFolder(path.join(base, name)))
    const kind = isLinked ? 'linked' : entry.isDirectory() ? 'folders' : 'names'
    found[kind].push(name)
  }
  return found
}

async function leadsToFolder(link: string): Promise<boolean> {
  try {
    return (await stat(link)).isDirectory()
  } catch (error) {
    // A link to nothing, or to itself, is looked at where files are.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES')) return false
    throw new UnreadableFolder(link, error)
  }
}

async function readable<T>(folder: string, read: (folder: string) => Promise<T>): Promise<T> {
  try {
    return await read(folder)
  } catch (error) {
    throw new UnreadableFolder(folder, error)
  }
}
