import os from 'node:os'
import path from 'node:path'
import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'

export interface PathContext {
  /** The folder of the config file. Relative paths start there, not at the current folder. */
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
}

type Section = Record<string, unknown>
const section = (value: unknown): Section | null => (typeof value === 'object' ? (value as Section | null) : null)
const PATHS: readonly (readonly string[])[] = [
  ['run', 'dir'],
  ['target', 'model'],
  ['target', 'tokenizer'],
  ['target', 'vllm', 'python'],
  ['target', 'vllm', 'scratch'],
  ['data', 'conversations'],
  ['generate', 'out'],
  ['features', 'files'],
  ['features', 'masks'],
  ['store', 'root'],
  ['store', 'auth', 'keyFile'],
  ['draft', 'config'],
  ['train', 'validation', 'manifest'],
  ['eval', 'prompts'],
  ['manifest'],
]

/** Makes all paths of a config absolute and expands `~` and `${NAME}`. Returns unset variables as problems. */
export function resolvePaths(
  config: RunConfig,
  context: PathContext,
): { config: RunConfig; unset: readonly Omit<Problem, 'where'>[] } {
  const unset: Omit<Problem, 'where'>[] = []
  const resolved: Record<string, unknown> = structuredClone(config)
  const absolute = (text: string, field: string): string => {
    const missing = variablesIn(text).filter((name) => context.env[name] === undefined)
    for (const name of missing)
      unset.push({
        field,
        found: `${text}, but ${name} is not set`,
        expected: `the variable ${name} in the environment`,
      })
    return path.resolve(context.folder, expand(text, context.env))
  }
  for (const keyPath of PATHS) {
    const key = keyPath.at(-1) ?? ''
    const part = keyPath.slice(0, -1).reduce<Section | null>((above, name) => section(above?.[name]), resolved)
    const value = part?.[key]
    const isAuto = keyPath[0] === 'draft' && value === 'auto'
    if (part === null || isAuto) continue
    if (typeof value === 'string') part[key] = absolute(value, keyPath.join('.'))
    else if (Array.isArray(value)) part[key] = value.map((each) => absolute(String(each), keyPath.join('.')))
  }
  return { config: resolved as RunConfig, unset }
}

const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g
const variablesIn = (text: string): string[] => [...text.matchAll(VARIABLE)].map(([, name = '']) => name)

function expand(text: string, env: NodeJS.ProcessEnv): string {
  const filled = text.replaceAll(VARIABLE, (_, name: string) => env[name] ?? '')
  if (filled !== '~' && !filled.startsWith('~/')) return filled
  // Asked for only then: a container may run as a user without a home.
  return path.join(env['HOME'] ?? os.homedir(), filled.slice(1))
}
