import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../../core/errors.ts'
import { globMatcher } from '../produce/feature-files.ts'

/**
 * The files that `data.conversations` names, each once: as they are listed, the files of a pattern sorted by path. A name
 * without a file stays as it is, for its reader to refuse. @throws CONFIG_INVALID for a pattern that no file matches.
 */
export async function dataFiles(named: string | readonly string[]): Promise<readonly string[]> {
  const files = new Set<string>()
  for (const name of typeof named === 'string' ? [named] : named) {
    for (const file of (await isThere(name)) ? [name] : await matching(name)) files.add(file)
  }
  return [...files]
}

async function isThere(name: string): Promise<boolean> {
  const found = await stat(name).catch(() => null)
  if (found?.isDirectory() !== true) return found !== null
  throw unusable(name, 'a folder', 'name its files, or a pattern such as data/*.jsonl')
}

async function matching(pattern: string): Promise<readonly string[]> {
  const parts = pattern.split('/')
  const firstWild = parts.findIndex((part) => /[*?{]/.test(part))
  if (firstWild === -1) return [pattern]
  const base = parts.slice(0, firstWild).join('/') || '/'
  const matches = globMatcher(parts.slice(firstWild).join('/'))
  const names = await readdir(base, { recursive: true }).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return []
    throw unusable(base, error instanceof Error ? error.message : String(error), 'make the folder readable')
  })
  // Copies of a Mac leave `._name` beside a name; such files hold no data.
  const files = names.filter((name) => matches(name) && !path.basename(name).startsWith('._')).sort()
  if (files.length > 0) return files.map((name) => path.join(base, name))
  throw unusable(pattern, 'a pattern that no file matches', 'check the folder and the ending of the files')
}

const unusable = (file: string, found: string, fix: string) =>
  finding('CONFIG_INVALID', 'the conversations cannot be found', { file, field: 'data.conversations', found, fix })
