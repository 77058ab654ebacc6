import { stat } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../../core/errors.ts'
import { filesBelow, type PatternFiles, partsOfPattern } from '../../core/files/files-of-pattern.ts'
import { UnreadableFolder } from '../../core/files/names-below.ts'

export interface FeatureFile {
  readonly path: string
  /** The path relative to the fixed folder of the pattern. It does not depend on where that folder is mounted. */
  readonly name: string
  /** 0 if it cannot be read: the load then says why. */
  readonly bytes: number
}

export interface FoundFeatures {
  /** The fixed folder of the pattern. */
  readonly base: string
  /** Sorted by name. */
  readonly files: readonly FeatureFile[]
  /** Files and folders that the pattern reaches and that give no sample, by reason. */
  readonly leftOut: Readonly<Record<LeftOut, readonly string[]>>
}
export type LeftOut = 'compressed' | 'companion' | 'again' | 'evaluation'

const EXTENSIONS = '.{ckpt,ckpt.gz,safetensors}'
const CONCURRENT_STATS = 64

/**
 * The feature files that `pattern` matches. `pattern` is a file, a folder (all feature files in it), or a pattern with
 * `*`, `**`, `?` and `{a,b}`. @throws CONFIG_INVALID when no file matches.
 */
export async function findFeatureFiles(pattern: string): Promise<FoundFeatures> {
  const { base, names, companions, again } = await matchesOf(pattern)
  const all = new Set(names)
  const isSecond = (name: string) => name.endsWith('.gz') && all.has(name.slice(0, -'.gz'.length))
  const found = names.filter((name) => !isSecond(name)).map((name) => ({ path: path.join(base, name), name }))
  const files: FeatureFile[] = []
  for (let at = 0; at < found.length; at += CONCURRENT_STATS) {
    files.push(...(await Promise.all(found.slice(at, at + CONCURRENT_STATS).map(withSize))).flat())
  }
  const leftOut = { compressed: names.filter(isSecond), companion: companions, again, evaluation: [] }
  if (files.length > 0) return { base, files, leftOut }
  throw finding('CONFIG_INVALID', 'no feature files were found', {
    field: 'features.files',
    found: `${pattern}, which no file matches`,
    fix: 'name a folder or a pattern such as "features/**/*.ckpt*"',
  })
}

async function withSize(file: Omit<FeatureFile, 'bytes'>): Promise<FeatureFile[]> {
  try {
    const found = await stat(file.path)
    return found.isFile() ? [{ ...file, bytes: found.size }] : []
  } catch (error) {
    // A link to nothing, or to itself, is one bad file among the others.
    if (isErrno(error, 'ENOENT', 'ELOOP', 'EACCES')) return [{ ...file, bytes: 0 }]
    throw unreadable(file.path, error)
  }
}

async function matchesOf(pattern: string): Promise<PatternFiles> {
  const nothing = { base: pattern, names: [], companions: [], again: [] }
  const asIs = await stat(pattern).catch(() => null)
  if (asIs?.isFile() === true) {
    return { ...nothing, base: path.dirname(pattern), names: [path.basename(pattern)] }
  }
  const parts =
    asIs?.isDirectory() === true ? { base: pattern, rest: `**/*${EXTENSIONS}` } : await partsOfPattern(pattern)
  if (parts === null) return nothing
  try {
    return await filesBelow(parts.base, parts.rest)
  } catch (error) {
    if (!(error instanceof UnreadableFolder)) throw error
    if (error.folder === parts.base && isErrno(error.error, 'ENOENT', 'ENOTDIR')) return nothing
    throw unreadable(error.folder, error.error)
  }
}

function unreadable(file: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !('syscall' in cause)) return cause
  const fix = 'remove it or make it readable; if it is a link, check that its target exists'
  const where = { file, field: 'features.files', found: cause.message, fix }
  return finding('CONFIG_INVALID', 'a feature file or folder cannot be read', where, { cause })
}
