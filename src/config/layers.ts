import { parse } from 'yaml'
import { LAUNCHED_ENV } from '../core/launched-env.ts'
import { nearest } from '../core/nearest.ts'
import { looksLikeKey, STORE_KEY_ENV } from '../core/store-key-env.ts'
import type { Problem } from './problem.ts'
import { allKeys, isChoice, type KeyPath, schemaAt, takesNull, takesOnlyText } from './schema-tree.ts'

/** One config key that the environment or `--set` sets. `origin` names the variable or flag in messages. */
export interface Override {
  readonly keyPath: readonly string[]
  readonly value: unknown
  readonly origin: string
}
export type Overrides = { readonly overrides: readonly Override[]; readonly problems: readonly Problem[] }

const PREFIX = 'DRAFTBRIDGE_'
/** `TRAIN_LOG_INTERVAL`, `trainLogInterval` and `TRAIN_LOGINTERVAL` are one name. */
const normalized = (text: string): string => text.replaceAll('_', '').toUpperCase()

/** Variables with the prefix that are not config keys: for the choice of the Python, the store's key, and `launch`. */
const OTHER_VARIABLES = ['DRAFTBRIDGE_PYTHON', 'DRAFTBRIDGE_VENV', STORE_KEY_ENV, LAUNCHED_ENV]

/** The tests of this repository use `DRAFTBRIDGE_TEST_*`. */
const isOtherVariable = (name: string): boolean =>
  OTHER_VARIABLES.includes(name) || name.startsWith(`${PREFIX}TEST_`) || isServiceVariable(name)

/** Kubernetes sets `DRAFTBRIDGE_PORT` and the like in every pod beside a Service whose name starts with draftbridge. */
const isServiceVariable = (name: string): boolean =>
  /_SERVICE_(HOST|PORT(_\w+)?)$/.test(name) || /_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/.test(name)

/** The overrides of `DRAFTBRIDGE_TRAIN_OPTIMIZER_LR` and the like. A variable that sets nothing is a problem. */
export function envOverrides(env: NodeJS.ProcessEnv): Overrides {
  const known = new Map(allKeys().map((keyPath) => [normalized(keyPath.join('')), keyPath]))
  const overrides: Override[] = []
  const problems: Problem[] = []
  for (const [name, text] of Object.entries(env).sort()) {
    if (!name.startsWith(PREFIX) || text === undefined || isOtherVariable(name)) continue
    const keyPath = known.get(withoutPrefix(name))
    if (keyPath === undefined) problems.push(unknownName(name, [...known.values()].map(envName)))
    else overrides.push({ keyPath, value: scalar(text, keyPath), origin: `environment, ${name}` })
  }
  return { overrides, problems }
}

function unknownName(name: string, keyNames: readonly string[]): Problem {
  const names = new Map([...keyNames, ...OTHER_VARIABLES].map((known) => [withoutPrefix(known), known]))
  const meant = names.get(nearest(withoutPrefix(name), [...names.keys()]) ?? '')
  return {
    where: `environment, ${name}`,
    field: name,
    found: 'a variable that sets no config key',
    ...(meant === undefined ? { expected: 'a name such as DRAFTBRIDGE_TRAIN_EPOCHS, for train.epochs' } : { meant }),
  }
}

/** The part of a name that is compared: the common prefix would make every two names look alike. */
const withoutPrefix = (name: string): string => normalized(name.slice(PREFIX.length))

export const envName = (keyPath: readonly string[]): string =>
  PREFIX + keyPath.map((key) => key.replaceAll(/([A-Z])/g, '_$1').toUpperCase()).join('_')

/** The overrides of `--set a.b=c`, in the given order. */
export function setOverrides(sets: readonly string[]): Overrides {
  const overrides: Override[] = []
  const problems: Problem[] = []
  for (const set of sets) {
    const cut = set.indexOf('=')
    // A user may pass the store key here by mistake. It must not end up in a log too.
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

/** The value of a text: a string where the key accepts only strings, otherwise the text read as YAML. */
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

/** A copy of `tree` with the override applied. Adds missing sections. */
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

/** Drops empty sections: YAML reads `train:` with only comments under it as null, but the user means an empty section. */
export function withoutEmptySections(tree: unknown, above: readonly string[] = []): unknown {
  if (!isSection(tree)) return tree
  const kept = Object.entries(tree).filter(([key, value]) => {
    return value !== null || schemaAt([...above, key])?.properties === undefined
  })
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutEmptySections(value, [...above, key])]))
}
