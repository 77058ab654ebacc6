import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { finding, isErrno } from '../../core/errors.ts'
import type { FoundFeatures } from './feature-files.ts'

const Dataset = z.looseObject({ version: z.literal(1), last_hidden_states_prenorm: z.boolean().nullable().optional() })
const Row = z.looseObject({ split: z.string(), file: z.string() })

/** The files of a folder that TorchSpec saved: those of its split `train`. */
export interface TorchspecFolder {
  readonly features: FoundFeatures
  /** Null: the folder does not say it. */
  readonly finalNorm: 'pre' | 'post' | null
}

/** Null for another folder, or for what is none. @throws CONFIG_INVALID for one whose lists cannot be read. */
export async function torchspecFolder(folder: string): Promise<TorchspecFolder | null> {
  const [about, list] = await Promise.all(
    ['dataset.json', 'manifest.jsonl'].map((name) => textOf(path.join(folder, name))),
  )
  if (about == null || list == null) return null
  const { last_hidden_states_prenorm: isBefore = null } = parsed(Dataset, about, path.join(folder, 'dataset.json'))
  const rows = list
    .split('\n')
    .map((line, index) => ({ line, where: `${path.join(folder, 'manifest.jsonl')}:${index + 1}` }))
    .filter(({ line }) => line.trim() !== '')
    .map(({ line, where }) => parsed(Row, line, where))
  const names = rows.filter(({ split }) => split === 'train').map(({ file }) => file)
  const files = await Promise.all(names.sort().map((name) => fileAt(folder, name)))
  const evaluation = rows.filter(({ split }) => split !== 'train').map(({ file }) => file)
  const finalNorm = isBefore === null ? null : isBefore ? 'pre' : 'post'
  return {
    features: { base: folder, files, leftOut: { compressed: [], companion: [], again: [], evaluation } },
    finalNorm,
  }
}

async function fileAt(folder: string, name: string) {
  const file = path.resolve(folder, name)
  if (!file.startsWith(`${path.resolve(folder)}/`)) throw unusable(path.join(folder, 'manifest.jsonl'), name)
  const bytes = await stat(file).then(
    ({ size }) => size,
    () => 0,
  )
  return { path: file, name, bytes }
}

async function textOf(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null
    throw unusable(file, error instanceof Error ? error.message : String(error), error)
  }
}

function parsed<T>(form: z.ZodType<T>, text: string, file: string): T {
  try {
    return form.parse(JSON.parse(text))
  } catch (error) {
    throw unusable(file, text.slice(0, 80), error)
  }
}

const unusable = (file: string, found: string, cause?: unknown) =>
  finding(
    'CONFIG_INVALID',
    'the list of a TorchSpec folder cannot be used',
    { file, field: 'features.files', found, fix: 'name its sample files with a pattern, such as "saved/samples/*.pt"' },
    { cause },
  )
