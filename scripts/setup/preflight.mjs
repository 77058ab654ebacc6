import { existsSync, readFileSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { candidates, choosePython } from './choose-python.mjs'
import { probePython } from './probe-python.mjs'
import { missingMessage, SetupProblem } from './problem.mjs'
import { findCompiler, findNodeHeaders, headerVersion, npmCommand, runs } from './toolchain.mjs'

/** @import { Checkout } from './checkout.mjs' */
/** @import { PythonFacts } from './probe-python.mjs' */
/** @import { Missing } from './problem.mjs' */

/**
 * All tools that the long steps need. They are looked for before the first step starts.
 * @typedef {{ python: PythonFacts, compiler: string[], npm: string[], npmRoot: string | null }} Tools
 */

/**
 * @param {Checkout} checkout
 * @param {{ flag?: string | undefined, earlier?: string | undefined }} asked
 * @returns {Tools}
 */
export function preflight(checkout, { flag, earlier }) {
  /** @type {Missing[]} */
  const missing = []
  const env = process.env['DRAFTBRIDGE_PYTHON']
  const python = choosePython(candidates({ flag, env, earlier: earlier ?? venvBase(checkout) }), probePython)
  if (!python.ok) missing.push(python.missing)
  const compiler = findCompiler(process.env['CXX'], runs)
  if (!compiler.ok) missing.push(compiler.missing)
  const npm = npmCommand(process.env['npm_execpath'])
  const npmProgram = npm.at(-1) ?? 'npm'
  const npmFile = path.isAbsolute(npmProgram) ? npmProgram : onPath(npmProgram)
  if (npmFile === null)
    missing.push({ what: 'no npm', found: 'no npm beside Node or on PATH', debian: 'npm', fedora: 'npm' })
  const npmRoot = npmFile === null ? null : npmHome(npmFile)
  const headers = nodeHeadersMissing(npmRoot)
  if (headers !== null) missing.push(headers)
  if (missing.length > 0 || !python.ok || !compiler.ok) throw new SetupProblem(missingMessage(missing))
  return { python: python.facts, compiler: compiler.command, npm, npmRoot }
}

/**
 * @param {string | null} npmRoot
 * @returns {Missing | null}
 */
function nodeHeadersMissing(npmRoot) {
  const node = { execPath: process.execPath, version: process.version, nodedir: process.env['npm_config_nodedir'] }
  const { include, seen } = findNodeHeaders(node, headerVersion)
  if (include !== null || npmRoot !== null) return null
  return {
    what: `no headers of Node ${process.version}`,
    found: seen.join('; '),
    debian: 'libnode-dev',
    fedora: 'nodejs-devel',
  }
}

/**
 * The folder of npm itself, if it contains the node-gyp that can fetch headers.
 * @param {string} file
 * @returns {string | null}
 */
function npmHome(file) {
  const home = path.resolve(path.dirname(realpathSync(file)), '..')
  return existsSync(path.join(home, 'node_modules/node-gyp/bin/node-gyp.js')) ? home : null
}

/** @param {string} name */
function onPath(name) {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter)
  return folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file)) ?? null
}

/**
 * The interpreter of an existing `.venv`, so that a lost stamp does not rebuild it.
 * @param {Checkout} checkout
 * @returns {string | undefined}
 */
function venvBase({ venv }) {
  try {
    return realpathSync(path.join(venv, 'bin/python'))
  } catch {
    return undefined
  }
}

/** @param {Checkout} checkout */
export function venvDescription({ venv }) {
  try {
    return readFileSync(path.join(venv, 'pyvenv.cfg'), 'utf8')
  } catch {
    return null
  }
}
