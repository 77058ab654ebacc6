import type { z } from 'zod'
import { CodedError } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import { expected, show } from './expected.ts'
import { type KeyPath, keysOf, schemaAt } from './schema-tree.ts'

/** One invalid value or name in a config. */
export interface Problem {
  /** `file:line:column`, or the environment variable or flag that set the value. */
  readonly where: string
  readonly field: string
  readonly found: string
  readonly expected?: string
  /** The name that the user most likely meant. */
  readonly meant?: string
}

export interface Located {
  readonly tree: unknown
  locate(keyPath: KeyPath): string
}

/** The issues of zod as problems in plain words, one per key. */
export function problemsOf(issues: readonly z.core.$ZodIssue[], located: Located): Problem[] {
  return issues.flatMap((issue) => {
    const keyPath = issue.path.map((key) => (typeof key === 'number' ? key : String(key)))
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(keyPath, key, located))
    const unknown = issue.code === 'invalid_union' ? unknownInChoice(keyPath, located) : []
    return unknown.length > 0 ? unknown : [wrongValue(keyPath, located)]
  })
}

function wrongValue(keyPath: KeyPath, { tree, locate }: Located): Problem {
  const node = schemaAt(keyPath)
  return {
    where: locate(keyPath),
    field: dotted(keyPath),
    found: show(valueAt(tree, keyPath)),
    ...(node === undefined ? {} : { expected: expected(node) }),
  }
}

function unknownKey(above: KeyPath, key: string, { locate }: Located): Problem {
  const node = schemaAt(above)
  const keys = node === undefined ? [] : keysOf(node)
  const meant = nearest(key, keys)
  return {
    where: locate([...above, key]),
    field: dotted([...above, key]),
    found: 'an unknown key',
    ...(meant === undefined ? { expected: `one of ${keys.join(', ')}` } : { meant: dotted([...above, meant]) }),
  }
}

/** The keys that no branch of a choice between sections has. zod only reports `Invalid input` for the whole choice. */
function unknownInChoice(keyPath: KeyPath, located: Located): Problem[] {
  const node = schemaAt(keyPath)
  const value = valueAt(located.tree, keyPath)
  if (node === undefined || typeof value !== 'object' || value === null) return []
  const keys = keysOf(node)
  return Object.keys(value)
    .filter((key) => keys.length > 0 && !keys.includes(key))
    .map((key) => unknownKey(keyPath, key, located))
}

const valueAt = (tree: unknown, keyPath: KeyPath): unknown =>
  keyPath.reduce<unknown>((value, key) => {
    return typeof value === 'object' && value !== null ? (value as Record<string | number, unknown>)[key] : undefined
  }, tree)

export const dotted = (keyPath: KeyPath): string => keyPath.join('.') || '(the whole file)'

/** One error that lists every problem, so that the user can fix all of them at once. */
export function configInvalid(problems: readonly Problem[]): CodedError<'CONFIG_INVALID'> {
  const [first] = problems
  const head = problems.length === 1 ? 'the config has a problem' : `the config has ${problems.length} problems`
  const text = [head, ...problems.map(describe)].join('\n')
  const fix = first?.meant ?? first?.expected
  return new CodedError('CONFIG_INVALID', text, {
    ...(first === undefined ? {} : { file: first.where, field: first.field, found: first.found }),
    ...(fix === undefined ? {} : { fix }),
  })
}

function describe(problem: Problem): string {
  const lines = [`  ${problem.field}`, `    file:     ${problem.where}`, `    found:    ${problem.found}`]
  if (problem.expected !== undefined) lines.push(`    expected: ${problem.expected}`)
  if (problem.meant !== undefined) lines.push(`    fix:      did you mean ${problem.meant}?`)
  return lines.join('\n')
}
