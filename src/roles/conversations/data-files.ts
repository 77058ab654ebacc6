import { stat } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../../core/errors.ts'
import { filesBelow, partsOfPattern } from '../../core/files/files-of-pattern.ts'
import { UnreadableFolder } from '../../core/files/names-below.ts'

/**
 * The files that a setting such as `data.conversations` names, each once: as they are listed, the files of a pattern sorted by path. @throws
 * CONFIG_INVALID for a name without a file, or a pattern that no file matches.
 */
export async function dataFiles(
  named: string | readonly string[],
  field = 'data.conversations',
): Promise<readonly string[]> {
  const files = new Set<string>()
  for (const name of typeof named === 'string' ? [named] : named) {
    for (const file of (await isThere(name, field)) ? [name] : await matching(name, field)) files.add(file)
  }
  return [...files]
}

async function isThere(name: string, field: string): Promise<boolean> {
  const found = await stat(name).catch(() => null)
  if (found?.isDirectory() !== true) return found !== null
  throw unusable(field, name, 'a folder', 'name its files, or a pattern such as data/*.jsonl')
}

async function matching(pattern: string, field: string): Promise<readonly string[]> {
  const parts = await partsOfPattern(pattern)
  if (parts === null)
    throw unusable(
      field,
      pattern,
      'no such file',
      'check the path; in the config it starts at the folder of the config',
    )
  const { base, names } = await filesBelow(parts.base, parts.rest).catch((error: unknown) => {
    if (!(error instanceof UnreadableFolder)) throw error
    if (error.folder === parts.base && isErrno(error.error, 'ENOENT', 'ENOTDIR')) return { base: '', names: [] }
    throw unusable(field, error.folder, String(error.error), 'make the folder readable')
  })
  if (names.length > 0) return names.map((name) => path.join(base, name))
  throw unusable(field, pattern, 'a pattern that no file matches', 'check the folder and the ending of the files')
}

const unusable = (field: string, file: string, found: string, fix: string) =>
  finding('CONFIG_INVALID', 'the files cannot be found', { file, field, found, fix })
