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
export function matchesLock(lock, installed) {
  const packages = installed?.packages
  if (packages === undefined) return false
  return Object.entries(lock.packages ?? {}).every(([name, wanted]) => {
    if (name === '') return true
    const found = packages[name]
    if (found === undefined) return wanted.optional === true
    return found.version === wanted.version && found.integrity === wanted.integrity
  })
}

/** @param {Checkout} checkout */
export function nodePackagesMatchLock({ root }) {
  const installed = path.join(root, 'node_modules/.package-lock.json')
  const needed = [installed, path.join(root, 'node_modules/tsx/package.json'), path.join(root, COMMAND)]
  if (!needed.every((file) => existsSync(file))) return false
  return matchesLock(readJson(path.join(root, 'package-lock.json')), readJson(installed))
}

/**
 * Installs the packages of package-lock.json. None runs install scripts: set-up compiles the only native package itself,
 * against the chosen interpreter.
 * @param {Checkout} checkout
 * @param {string[]} npm
 */
export async function installNodePackages({ root, logs }, npm) {
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error']
  await run([...npm, 'ci', ...options], { cwd: root, log: path.join(logs, 'npm.log') })
  // For `npx draftbridge`: npm links the programs of a package's dependencies, not those of the package itself.
  mkdirSync(path.join(root, 'node_modules/.bin'), { recursive: true })
  symlinkSync('../../scripts/draftbridge.mjs', path.join(root, COMMAND))
}

/**
 * Whether `.venv` was made from this interpreter, according to its pyvenv.cfg.
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
 * Installs exactly the listed wheels, whose hashes must match. Nothing is compiled and no version is resolved.
 * @param {Checkout} checkout
 * @param {string} requirements
 * @param {{ again: boolean }} options `again` reinstalls packages even if they look installed
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
