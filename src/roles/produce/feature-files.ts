import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import picomatch from 'picomatch'
import { finding, isErrno } from '../../core/errors.ts'

export interface FeatureFile {
  readonly path: string
  /** The path below the folder that the pattern begins with: the same wherever that is mounted. */
  readonly name: string
  readonly bytes: number
}

const ENDINGS = '.{ckpt,ckpt.gz,safetensors}'
const STATS_AT_ONCE = 64

/**
 * The feature files that `pattern` names, sorted by path as plain text: a file, a folder (all feature files in it), or
 * a pattern with `*`, `**`, `?` and `{a,b}`. @throws CONFIG_INVALID when there are none.
 */
export async function findFeatureFiles(pattern: string): Promise<FeatureFile[]> {
  const found = await matching(pattern)
  found.sort((a, b) => (a.name < b.name ? -1 : 1))
  const files: FeatureFile[] = []
  for (let at = 0; at < found.length; at += STATS_AT_ONCE) {
    files.push(...(await Promise.all(found.slice(at, at + STATS_AT_ONCE).map(sized))).flat())
  }
  if (files.length > 0) return files
  throw finding('CONFIG_INVALID', 'there are no feature files', {
    field: 'features.files',
    found: `${pattern}, which no file matches`,
    fix: 'name a folder or a pattern such as "features/**/*.ckpt*"',
  })
}

type Found = Omit<FeatureFile, 'bytes'>

async function sized(file: Found): Promise<FeatureFile[]> {
  const found = await stat(file.path).catch((error: unknown) => Promise.reject(unreadable(file.path, error)))
  return found.isFile() ? [{ ...file, bytes: found.size }] : []
}

async function matching(pattern: string): Promise<Found[]> {
  const asIs = await stat(pattern).catch(() => null)
  if (asIs?.isFile() === true) return [{ path: pattern, name: path.basename(pattern) }]
  if (asIs?.isDirectory() === true) return matchingBelow(pattern, `**/*${ENDINGS}`)
  const parts = pattern.split('/')
  const firstWild = parts.findIndex((part) => /[*?{]/.test(part))
  if (firstWild === -1) return []
  const base = parts.slice(0, firstWild).join('/') || '/'
  return matchingBelow(base, parts.slice(firstWild).join('/'))
}

/** The paths below `base`, a folder of exactly this name, that match `pattern`. */
async function matchingBelow(base: string, pattern: string): Promise<Found[]> {
  const isWanted = globMatcher(pattern)
  const names = await readdir(base, { recursive: true }).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return []
    throw unreadable(base, error)
  })
  return names.filter((name) => isWanted(name)).map((name) => ({ path: path.join(base, name), name }))
}

function unreadable(file: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !('syscall' in cause)) return cause
  const fix = 'remove it, or make it readable: a link must lead somewhere'
  const where = { file, field: 'features.files', found: cause.message, fix }
  return finding('CONFIG_INVALID', 'a feature file or folder cannot be looked at', where, { cause })
}

/**
 * Whether a path below the folder matches: `**` spans folders, `*` and `?` do not; `{a,b}` is one of the two. Names that
 * begin with a dot are matched too. Every other character stands for itself.
 */
export const globMatcher = (pattern: string): ((name: string) => boolean) =>
  picomatch(pattern.replace(/[[\]()!+@|^$\\]/g, '\\$&'), {
    dot: true,
    nonegate: true,
    noextglob: true,
    nobracket: true,
  })
