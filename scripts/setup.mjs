// Makes a checkout ready: node packages, .venv, Python packages, the bridge, and a check that it all works together.
// It uses plain Node and no packages, because it runs before any are installed. --help prints the usage.
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Checkout } from './setup/checkout.mjs'
import { holdLock } from './setup/lock.mjs'
import { parseOptions, USAGE } from './setup/options.mjs'
import { endOrphans } from './setup/orphans.mjs'
import { preflight } from './setup/preflight.mjs'
import { missingMessage, SetupProblem, UNAVAILABLE } from './setup/problem.mjs'
import { dueSteps, markOf, readStamp, stepKeys } from './setup/stamp.mjs'
import { say, seconds } from './setup/step.mjs'
import { doSteps } from './setup/steps.mjs'
import { nodeFault } from './setup/toolchain.mjs'

/** @import { Options } from './setup/options.mjs' */
/** @import { Interpreter, Stamp, Step } from './setup/stamp.mjs' */

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const checkout = new Checkout(root)

/** @param {Options} options */
async function main(options) {
  const begun = performance.now()
  const fault = nodeFault(process.version)
  if (fault !== null) throw new SetupProblem(missingMessage([fault]))
  const stamp = readStamp(checkout.stamp)
  const known = interpreterStillThere(stamp, options.python)
  if (known !== null && due(stamp, known, options).length === 0) {
    if (!options.quiet) say(`nothing to do (${seconds(begun)}): ${stamp.summary}`)
    return
  }
  await setUp(options)
  say(`ready in ${seconds(begun)}`)
}

/** @param {Options} options */
async function setUp(options) {
  const earlier = readStamp(checkout.stamp).interpreter?.executable
  const tools = preflight(checkout, { flag: options.python, earlier })
  const { executable, version } = tools.python
  const onWait = (/** @type {number} */ pid) => say(`waiting for another set-up of this checkout (process ${pid})`)
  const lock = await holdLock(checkout.lock, { pollMs: 200, onWait })
  try {
    await endOrphans(checkout.running, (pid) =>
      say(`ending a program that a killed set-up left running (process ${pid})`),
    )
    // Read again: the set-up that held the lock may have done the work.
    const stamp = readStamp(checkout.stamp)
    const asked = options.python ?? process.env['DRAFTBRIDGE_PYTHON'] ?? null
    const interpreter = { asked, executable, version, mark: markOf(executable) }
    const keys = keysOf(interpreter)
    await doSteps(checkout, tools, { stamp: { ...stamp, interpreter }, keys, due: due(stamp, interpreter, options) })
  } finally {
    lock.release()
  }
}

/**
 * The interpreter of the earlier set-up, if it is the one asked for now and its file has not been replaced.
 * @param {Stamp} stamp
 * @param {string | undefined} flag
 * @returns {Interpreter | null}
 */
function interpreterStillThere({ interpreter }, flag) {
  if (interpreter === null || markOf(interpreter.executable) !== interpreter.mark) return null
  const asked = flag ?? process.env['DRAFTBRIDGE_PYTHON'] ?? null
  const same = asked === null || asked === interpreter.asked || realPath(asked) === interpreter.executable
  return same ? interpreter : null
}

/** @param {string} file */
function realPath(file) {
  return existsSync(file) ? realpathSync(file) : file
}

/**
 * @param {Stamp} stamp
 * @param {Interpreter} interpreter
 * @param {Options} options
 */
function due(stamp, interpreter, { dev }) {
  return dueSteps(stamp, keysOf(interpreter), { dev, exists: (step) => existsSync(ARTEFACTS[step]) })
}

/** @type {Record<Step, string>} for each step, a file that it writes at or near its end */
const ARTEFACTS = {
  node: path.join(root, 'node_modules/.bin/draftbridge'),
  venv: path.join(checkout.venv, 'bin/python'),
  python: path.join(checkout.venv, 'lib'),
  dev: path.join(checkout.venv, 'bin/pytest'),
  bridge: checkout.bridge,
  check: checkout.stamp,
}

/** @param {Interpreter} interpreter */
function keysOf({ executable, version, mark }) {
  const recipe = readFileSync(path.join(root, 'scripts/setup/bridge.mjs'), 'utf8')
  return stepKeys({
    packageLock: readFileSync(path.join(root, 'package-lock.json'), 'utf8'),
    requirements: readFileSync(checkout.requirements, 'utf8'),
    devRequirements: readFileSync(checkout.devRequirements, 'utf8'),
    python: `${executable} ${version} ${mark}`,
    node: process.version.slice(1),
    recipe,
  })
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === null) process.stdout.write(USAGE)
  else await main(options)
} catch (error) {
  if (!(error instanceof SetupProblem)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = UNAVAILABLE
}
