import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/**
 * The state of a checkout: for each finished step, the key it was done under. A step whose key is absent was never
 * done, or was begun and not finished.
 * @typedef {object} Stamp
 * @property {Interpreter | null} interpreter
 * @property {Record<string, string>} done
 * @property {string} summary the versions that the self-check printed
 */

/**
 * `mark` changes when the file is replaced, so an upgrade in place is seen without running it.
 * @typedef {{ asked: string | null, executable: string, version: string, mark: string }} Interpreter
 */

export const STEPS = /** @type {const} */ (['node', 'venv', 'python', 'dev', 'bridge', 'check'])
/** @typedef {typeof STEPS[number]} Step */

/** The key of a step that was started and not finished: what it left cannot be trusted. */
export const BEGUN = 'begun'

/** @returns {Stamp} */
export function blankStamp() {
  return { interpreter: null, done: {}, summary: '' }
}

/**
 * The key of every step. It includes the keys of the steps that it depends on, so a change repeats all later steps.
 * @param {{ packageLock: string, requirements: string, devRequirements: string, python: string, node: string,
 *   recipe: string }} inputs contents and identities; `recipe` is the text of the code that does the steps
 * @returns {Record<Step, string>}
 */
export function stepKeys({ packageLock, requirements, devRequirements, python, node, recipe }) {
  const venv = digest('venv', python)
  const nodeKey = digest('node', packageLock)
  const packages = digest(venv, requirements)
  const bridge = digest(nodeKey, venv, node.split('.')[0] ?? '', recipe)
  return {
    node: nodeKey,
    venv,
    python: packages,
    dev: digest(packages, devRequirements),
    bridge,
    check: digest(bridge, packages, node),
  }
}

/**
 * Steps to do, in order. A step is due when its key differs or what it made is missing; `dev` only when asked for.
 * @param {Stamp} stamp
 * @param {Record<Step, string>} keys
 * @param {{ dev: boolean, exists: (step: Step) => boolean }} options
 * @returns {Step[]}
 */
export function dueSteps(stamp, keys, { dev, exists }) {
  const due = new Set(STEPS.filter((step) => stamp.done[step] !== keys[step] || !exists(step)))
  // A pip that was killed can leave a package that looks installed but is not complete.
  if (stamp.done['python'] === BEGUN) due.add('venv')
  if (due.has('venv')) for (const step of /** @type {const} */ (['python', 'dev', 'bridge'])) due.add(step)
  // `npm ci` empties node_modules, which contains the bridge.
  if (due.has('node')) due.add('bridge')
  if (due.has('bridge') || due.has('python')) due.add('check')
  if (!dev) due.delete('dev')
  return STEPS.filter((step) => due.has(step))
}

/** @param {readonly string[]} parts */
export function digest(...parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex')
}

/**
 * @param {string} file
 * @returns {Stamp} a blank stamp when the file is missing or is not a stamp
 */
export function readStamp(file) {
  try {
    const { interpreter, done, summary } = JSON.parse(readFileSync(file, 'utf8'))
    return { ...blankStamp(), interpreter: interpreter ?? null, done: done ?? {}, summary: summary ?? '' }
  } catch {
    return blankStamp()
  }
}

/**
 * @param {string} file
 * @param {Stamp} stamp
 */
export function writeStamp(file, stamp) {
  mkdirSync(path.dirname(file), { recursive: true })
  const temporary = `${file}.${process.pid}`
  writeFileSync(temporary, `${JSON.stringify(stamp, null, 2)}\n`)
  renameSync(temporary, file)
}

/** @param {string} executable */
export function markOf(executable) {
  if (!existsSync(executable)) return ''
  const { size, mtimeMs } = statSync(executable)
  return `${size}:${Math.trunc(mtimeMs)}`
}
