import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import picomatch from 'picomatch'
import { finding, isErrno } from '../../core/errors.ts'

export interface FeatureFile {
  readonly path: string
  /** The path relative to the fixed folder of the pattern. It does not depend on where that folder is mounted. */
  readonly name: string
  readonly bytes: number
}

const EXTENSIONS = '.{ckpt,ckpt.gz,safetensors}'
const CONCURRENT_STATS = 64

/**
 * The feature files that `pattern` matches, sorted by name. `pattern` is a file, a folder (all feature files in it), or
 * a pattern with `*`, `**`, `?` and `{a,b}`. @throws CONFIG_INVALID when no file matches.
 */
export async function findFeatureFiles(pattern: string): Promise<FeatureFile[]> {
  const found = await matchesOf(pattern)
  found.sort((a, b) => (a.name < b.name ? -1 : 1))
  const files: FeatureFile[] = []
  for (let at = 0; at < found.length; at += CONCURRENT_STATS) {
    files.push(...(await Promise.all(found.slice(at, at + CONCURRENT_STATS).map(withSize))).flat())
  }
  if (files.length > 0) return files
  throw finding('CONFIG_INVALID', 'no feature files were found', {
    field: 'features.files',
    found: `${pattern}, which no file matches`,
    fix: 'name a folder or a pattern such as "features/**/*.ckpt*"',
  })
}

type Found = Omit<FeatureFile, 'bytes'>

async function withSize(file: Found): Promise<FeatureFile[]> {
  const found = await stat(file.path).catch((error: unknown) => Promise.reject(unreadable(file.path, error)))
  return found.isFile() ? [{ ...file, bytes: found.size }] : []
}

async function matchesOf(pattern: string): Promise<Found[]> {
  const asIs = await stat(pattern).catch(() => null)
  if (asIs?.isFile() === true) return [{ path: pattern, name: path.basename(pattern) }]
  if (asIs?.isDirectory() === true) return matchesBelow(pattern, `**/*${EXTENSIONS}`)
  const parts = pattern.split('/')
  const firstWild = parts.findIndex((part) => /[*?{]/.test(part))
  if (firstWild === -1) return []
  const base = parts.slice(0, firstWild).join('/') || '/'
  return matchesBelow(base, parts.slice(firstWild).join('/'))
}

/** The paths below the folder `base` that match `pattern`. Characters of `base` are never wildcards. */
async function matchesBelow(base: string, pattern: string): Promise<Found[]> {
  const matches = globMatcher(pattern)
  const names = await readdir(base, { recursive: true }).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return []
    throw unreadable(base, error)
  })
  return names
    .filter((name) => matches(name) && !isCompanion(name))
    .map((name) => ({ path: path.join(base, name), name }))
}

/** macOS leaves `._NAME` beside NAME on shares and sticks: attributes of the file, and no data. */
const isCompanion = (name: string): boolean => path.basename(name).startsWith('._')

function unreadable(file: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !('syscall' in cause)) return cause
  const fix = 'remove it or make it readable; if it is a link, check that its target exists'
  const where = { file, field: 'features.files', found: cause.message, fix }
  return finding('CONFIG_INVALID', 'a feature file or folder cannot be read', where, { cause })
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
