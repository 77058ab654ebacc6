import { stat } from 'node:fs/promises'
import path from 'node:path'
import picomatch from 'picomatch'
import { namesBelow } from './names-below.ts'

/** The files that a pattern matches. */
export interface PatternFiles {
  /** The folder that the pattern starts from. */
  readonly base: string
  /** Relative to `base`, sorted as plain text. */
  readonly names: readonly string[]
  /** What other systems leave beside files, such as `._a.json` of macOS: files without data of their own. */
  readonly companions: readonly string[]
  /** Linked folders below `base` that were not entered a second time. */
  readonly again: readonly string[]
}

/** The files below the folder `base` that match `pattern`. Characters of `base` are never wildcards. */
export async function filesBelow(base: string, pattern: string): Promise<PatternFiles> {
  const matches = globMatcher(pattern)
  const { names, again } = await namesBelow(base)
  const found = names.filter((name) => matches(name)).sort()
  const companions = found.filter(isCompanion)
  return { base, names: found.filter((name) => !isCompanion(name)), companions, again }
}

/**
 * The folder that a pattern starts from, and the rest of it. The folder is as long as possible: `{`, `}`, `*` and `?` in
 * the name of a folder that is there are no wildcards. Null: the pattern has no wildcard.
 */
export async function partsOfPattern(pattern: string): Promise<{ base: string; rest: string } | null> {
  const parts = pattern.split('/')
  for (let at = 0; at < parts.length; at += 1) {
    if (!/[*?{]/.test(parts[at] ?? '')) continue
    const folder = parts.slice(0, at + 1).join('/')
    const isFolder = await stat(folder).then(
      (found) => found.isDirectory(),
      () => false,
    )
    if (!isFolder)
      return { base: parts.slice(0, at).join('/') || (at === 0 ? '.' : '/'), rest: parts.slice(at).join('/') }
  }
  return null
}

/**
 * A function that tests a path below the folder. `**` matches across folders, `*` and `?` within one name, and `{a,b}`
 * either of the two. Names that begin with a dot match too. All other characters match themselves.
 */
export const globMatcher = (pattern: string): ((name: string) => boolean) =>
  picomatch(pattern.replace(/[[\]()!+@|^$\\]/g, '\\$&'), {
    dot: true,
    nonegate: true,
    noextglob: true,
    nobracket: true,
  })

const COMPANIONS = ['.DS_Store', 'Thumbs.db', 'desktop.ini']

function isCompanion(name: string): boolean {
  const last = path.basename(name)
  return last.startsWith('._') || COMPANIONS.includes(last)
}
