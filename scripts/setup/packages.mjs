import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { run } from './step.mjs'

const COMMAND = 'node_modules/.bin/draftbridge'

/** @import { Checkout } from './checkout.mjs' */
/** @import { PythonFacts } from './probe-python.mjs' */

/**
 * @typedef {{ packages?: Record<string, { version?: string, integrity?: string, optional?: boolean }> }} PackageLock
 */

/**
 * Whether npm installed exactly what the lock file names. Packages for other platforms are absent by design.
 * @param {PackageLock} lock package-lock.json
 * @param {PackageLock | null} installed node_modules/.package-lock.json
 */
export function inStep(lock, installed) {
  const there = installed?.packages
  if (there === undefined) return false
  return Object.entries(lock.packages ?? {}).every(([name, wanted]) => {
    if (name === '') return true
    const found = there[name]
    if (found === undefined) return wanted.optional === true
    return found.version === wanted.version && found.integrity === wanted.integrity
  })
}

/** @param {Checkout} checkout */
export function nodePackagesInStep({ root }) {
  const installed = path.join(root, 'node_modules/.package-lock.json')
  const needed = [installed, path.join(root, 'node_modules/tsx/package.json'), path.join(root, COMMAND)]
  if (!needed.every((file) => existsSync(file))) return false
  return inStep(readJson(path.join(root, 'package-lock.json')), readJson(installed))
}

/**
 * No package runs a script of its own: the one native package is compiled by us, against the chosen interpreter.
 * @param {Checkout} checkout
 * @param {string[]} npm
 */
export async function installNodePackages({ root, logs }, npm) {
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error']
  await run([...npm, 'ci', ...options], { cwd: root, log: path.join(logs, 'npm.log') })
  // So that `npx draftbridge` finds it: npm links the programs of a package's dependencies, not its own.
  mkdirSync(path.join(root, 'node_modules/.bin'), { recursive: true })
  symlinkSync('../../scripts/draftbridge.mjs', path.join(root, COMMAND))
}

/**
 * Whether `.venv` was made from this interpreter, by what its own description says.
 * @param {string} description text of pyvenv.cfg
 * @param {Pick<PythonFacts, 'executable' | 'version'>} facts
 * @param {(file: string) => string} resolve real path of a file
 */
export function venvBelongsTo(description, { executable, version }, resolve) {
  const fields = new Map(description.split('\n').map((line) => /** @type {[string, string]} */ (pair(line))))
  const home = fields.get('home') ?? ''
  const made = fields.get('version') ?? ''
  const minor = version.split('.').slice(0, 2).join('.')
  const programs = [fields.get('executable'), path.join(home, `python${minor}`), path.join(home, 'python3')]
  return made === version && programs.some((program) => program !== undefined && resolve(program) === executable)
}

/** @param {string} line */
function pair(line) {
  const at = line.indexOf('=')
  return at < 0 ? [line.trim(), ''] : [line.slice(0, at).trim(), line.slice(at + 1).trim()]
}

/**
 * @param {Checkout} checkout
 * @param {PythonFacts} facts
 */
export async function makeVenv({ root, venv, logs }, { executable }) {
  rmSync(venv, { recursive: true, force: true })
  try {
    await run([executable, '-m', 'venv', venv], { cwd: root, log: path.join(logs, 'venv.log') })
  } catch (error) {
    rmSync(venv, { recursive: true, force: true })
    throw error
  }
}

/**
 * Only wheels, only those whose hash is written down, and only those listed: nothing is compiled, nothing is resolved.
 * @param {Checkout} checkout
 * @param {string} requirements
 * @param {{ again: boolean }} options `again` puts a package back even if it looks installed
 */
export async function installPythonPackages({ root, venv, logs }, requirements, { again }) {
  const options = [
    '--progress-bar',
    'off',
    '--require-hashes',
    '--no-deps',
    '--only-binary',
    ':all:',
    ...(again ? ['--force-reinstall'] : []),
  ]
  await run([path.join(venv, 'bin/python'), '-m', 'pip', 'install', ...options, '-r', requirements], {
    cwd: root,
    log: path.join(logs, `${path.basename(requirements, '.txt')}.log`),
  })
}

/**
 * @param {string} file
 * @returns {any}
 */
function readJson(file) {
  return JSON.parse(readFileSync(file, 'utf8'))
}
