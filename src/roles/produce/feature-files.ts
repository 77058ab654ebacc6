import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
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
  const parts = (asIs === null ? pattern : path.join(pattern, `**/*${ENDINGS}`)).split('/')
  const firstWild = parts.findIndex((part) => /[*?{]/.test(part))
  if (firstWild === -1) return []
  const base = parts.slice(0, firstWild).join('/') || '/'
  const wanted = globExpression(parts.slice(firstWild).join('/'))
  const names = await readdir(base, { recursive: true }).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return []
    throw unreadable(base, error)
  })
  return names.filter((name) => wanted.test(name)).map((name) => ({ path: path.join(base, name), name }))
}

function unreadable(file: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !('syscall' in cause)) return cause
  const fix = 'remove it, or make it readable: a link must lead somewhere'
  const where = { file, field: 'features.files', found: cause.message, fix }
  return finding('CONFIG_INVALID', 'a feature file or folder cannot be looked at', where, { cause })
}

/** `**` spans folders, `*` and `?` do not; `{a,b}` is one of the two. */
export function globExpression(pattern: string): RegExp {
  const source = pattern.replace(/\*\*\/|\*\*|\*|\?|\{[^{}]*\}|[^*?{]+|\{/g, (piece) => {
    if (piece === '**/') return '(?:.*/)?'
    if (piece === '**') return '.*'
    if (piece === '*') return '[^/]*'
    if (piece === '?') return '[^/]'
    if (/^\{.*\}$/.test(piece)) return `(?:${piece.slice(1, -1).split(',').map(literal).join('|')})`
    return literal(piece)
  })
  return new RegExp(`^${source}$`)
}

const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
