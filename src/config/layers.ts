import { parse } from 'yaml'
import { nearest } from '../core/nearest.ts'
import { looksLikeKey, STORE_KEY_ENV } from '../core/store-key-env.ts'
import type { Problem } from './problem.ts'
import { allKeys, isChoice, type KeyPath, schemaAt, takesNull, takesOnlyText } from './schema-tree.ts'

/** One key that the environment or `--set` gives. `origin` is how the reader knows it. */
export interface Override {
  readonly keyPath: readonly string[]
  readonly value: unknown
  readonly origin: string
}
export type Overrides = { readonly overrides: readonly Override[]; readonly problems: readonly Problem[] }

const PREFIX = 'DRAFTBRIDGE_'
const squeezed = (text: string): string => text.replaceAll('_', '').toUpperCase()

/**
 * `DRAFTBRIDGE_TRAIN_OPTIMIZER_LR` and the like. Only names that begin with a section of the config count:
 * the prefix is also that of settings which are no config (`DRAFTBRIDGE_PYTHON`, `DRAFTBRIDGE_VENV`).
 */
export function envOverrides(env: NodeJS.ProcessEnv): Overrides {
  const known = new Map(allKeys().map((keyPath) => [squeezed(keyPath.join('')), keyPath]))
  const sections = [...known.values()].filter((keyPath) => keyPath.length === 1).map(([section = '']) => section)
  const overrides: Override[] = []
  const problems: Problem[] = []
  for (const [name, text] of Object.entries(env).sort()) {
    if (!name.startsWith(PREFIX) || text === undefined) continue
    // Never shown, and no part of the config: only Python looks at it.
    if (name === STORE_KEY_ENV) continue
    const rest = name.slice(PREFIX.length)
    const keyPath = known.get(squeezed(rest))
    if (keyPath !== undefined) overrides.push({ keyPath, value: scalar(text, keyPath), origin: `environment, ${name}` })
    else if (sections.some((section) => rest.startsWith(`${section.toUpperCase()}_`)))
      problems.push(unknownName(name, known))
  }
  return { overrides, problems }
}

function unknownName(name: string, known: ReadonlyMap<string, readonly string[]>): Problem {
  const rest = squeezed(name.slice(PREFIX.length))
  const meant = known.get(nearest(rest, [...known.keys()]) ?? '')
  return {
    where: `environment, ${name}`,
    field: name,
    found: 'a name that fits no key of the config',
    ...(meant === undefined ? {} : { meant: envName(meant) }),
  }
}

export const envName = (keyPath: readonly string[]): string =>
  PREFIX + keyPath.map((key) => key.replaceAll(/([A-Z])/g, '_$1').toUpperCase()).join('_')

/** `--set a.b=c`, in the order given. */
export function setOverrides(sets: readonly string[]): Overrides {
  const overrides: Override[] = []
  const problems: Problem[] = []
  for (const set of sets) {
    const cut = set.indexOf('=')
    // Who puts a key there by mistake must not find it in a log as well.
    const secret = set.startsWith('store.auth') || looksLikeKey(set.slice(cut + 1))
    const origin = `--set ${secret && cut > 0 ? `${set.slice(0, cut)}=...` : set}`
    if (cut < 1) {
      problems.push({ where: origin, field: set, found: 'no `=`', expected: '--set section.key=value' })
      continue
    }
    const keyPath = set.slice(0, cut).trim().split('.')
    overrides.push({ keyPath, value: scalar(set.slice(cut + 1), keyPath), origin })
  }
  return { overrides, problems }
}

/** Text as the key means it: text stays text where only text fits, all else is read as YAML. */
function scalar(text: string, keyPath: KeyPath): unknown {
  const node = schemaAt(keyPath)
  if (node !== undefined && takesOnlyText(node)) return takesNull(node) && text === 'null' ? null : text
  try {
    return parse(text)
  } catch {
    return text
  }
}

type Section = Record<string, unknown>
const isSection = (value: unknown): value is Section =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A copy of `tree` with the override in it. Sections on the way are made where they are missing. */
export function withOverride(tree: unknown, { keyPath, value }: Override): unknown {
  return put(tree, keyPath, value, [])
}

function put(tree: unknown, keyPath: readonly string[], value: unknown, above: readonly string[]): unknown {
  const [key, ...below] = keyPath
  if (key === undefined) return value
  const node = schemaAt(above)
  const kept = isSection(tree) && !(node !== undefined && isChoice(node)) ? tree : {}
  return { ...kept, [key]: put(isSection(tree) ? tree[key] : undefined, below, value, [...above, key]) }
}

/** `train:` with nothing but comments under it is an empty section to its writer, though YAML reads null. */
export function withoutEmptySections(tree: unknown, above: readonly string[] = []): unknown {
  if (!isSection(tree)) return tree
  const kept = Object.entries(tree).filter(([key, value]) => {
    return value !== null || schemaAt([...above, key])?.properties === undefined
  })
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutEmptySections(value, [...above, key])]))
}
