import { existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { buildBridge, nodeHeaders } from './bridge.mjs'
import {
  installNodePackages,
  installPythonPackages,
  makeVenv,
  nodePackagesMatchLock,
  venvBelongsTo,
} from './packages.mjs'
import { venvDescription } from './preflight.mjs'
import { SetupProblem } from './problem.mjs'
import { BEGUN, writeStamp } from './stamp.mjs'
import { run, say, step } from './step.mjs'

/** @import { Checkout } from './checkout.mjs' */
/** @import { Tools } from './preflight.mjs' */
/** @import { Stamp, Step } from './stamp.mjs' */

/**
 * Does the steps that are due. A step is marked as begun in the stamp before it starts and as done after it ends, so the
 * next set-up repeats a step that was interrupted.
 * @param {Checkout} checkout
 * @param {Tools} tools
 * @param {{ stamp: Stamp, keys: Record<Step, string>, due: Step[] }} plan
 */
export async function doSteps(checkout, tools, { stamp, keys, due }) {
  say(`python ${tools.python.version} (${tools.python.executable}), node ${process.version}`)
  const done = { ...stamp.done }
  let { summary } = stamp
  /** @param {Step} name */
  const enter = (name, key = keys[name]) => {
    done[name] = key
    writeStamp(checkout.stamp, { interpreter: stamp.interpreter, done, summary })
  }
  const packagesBegun = done['python'] === BEGUN
  /** @param {Step} name */
  const perform = async (name) => {
    const begun = done[name] === BEGUN
    enter(name, BEGUN)
    try {
      if (name === 'check') summary = await step('self-check', () => selfCheck(checkout, tools))
      else await WORK[name](checkout, tools, { begun, packagesBegun })
    } catch (error) {
      // A step that fails cleans up after itself: it must be repeated, but what exists can be trusted.
      enter(name, '')
      throw error
    }
    enter(name)
  }
  const sequences = PARALLEL.map((steps) => due.filter((name) => steps.includes(name)))
  await allEnded(sequences.map((steps) => inOrder(steps, perform)))
  if (!due.includes('check')) return
  await perform('check')
  say(summary)
}

/**
 * Two sequences of steps that do not depend on each other: pip waits for the network while the compiler works.
 * @type {Step[][]}
 */
const PARALLEL = [
  ['node', 'bridge'],
  ['venv', 'python', 'dev'],
]

/**
 * @param {Step[]} steps
 * @param {(name: Step) => Promise<void>} perform
 */
async function inOrder(steps, perform) {
  for (const name of steps) await perform(name)
}

/**
 * Waits for all sequences and then fails as the first one failed: none may go on writing after the lock is released.
 * @param {Promise<void>[]} sequences
 */
async function allEnded(sequences) {
  for (const ended of await Promise.allSettled(sequences)) if (ended.status === 'rejected') throw ended.reason
}

/**
 * `begun`: an earlier set-up was killed in this step; `packagesBegun`: it was killed while it installed Python packages.
 * @typedef {{ begun: boolean, packagesBegun: boolean }} Circumstances
 * @type {Record<Exclude<Step, 'check'>, (checkout: Checkout, tools: Tools, about: Circumstances) => Promise<void>>}
 */
const WORK = {
  async node(checkout, { npm }, { begun }) {
    if (!begun && nodePackagesMatchLock(checkout)) return
    await step('node packages', () => installNodePackages(checkout, npm))
  },

  async venv(checkout, { python }, { begun, packagesBegun }) {
    const description = venvDescription(checkout)
    const belongs = description !== null && venvBelongsTo(description, python, realPath)
    if (belongs && !begun && !packagesBegun) return
    if (description !== null && !belongs) say(`.venv belongs to another Python than ${python.version}; it is replaced`)
    await step('.venv', () => makeVenv(checkout, python))
  },

  async python(checkout) {
    const what = 'python packages (torch brings 4.7 GB with its CUDA libraries)'
    await step(what, () => installPythonPackages(checkout, checkout.requirements, { again: false }))
  },

  async dev(checkout, _tools, { begun }) {
    await step('python tools', () => installPythonPackages(checkout, checkout.devRequirements, { again: begun }))
  },

  async bridge(checkout, { python, compiler, npmRoot }) {
    await step(`bridge (pymport, ${compiler.join(' ')})`, async () => {
      const include = await nodeHeaders(checkout, { execPath: process.execPath, npmRoot })
      await buildBridge(checkout, python, { compiler, include })
    })
  },
}

/**
 * Runs self-check.mjs in its own process, in the environment that the bridge uses.
 * @param {Checkout} checkout
 * @param {Tools} tools
 * @returns {Promise<string>} one line of versions
 */
async function selfCheck({ root, venv, logs }, { python }) {
  const env = { DRAFTBRIDGE_VENV: venv, EXPECTED_PYTHON: python.version, PYTHONPATH: path.join(root, 'python') }
  const program = path.join(root, 'scripts/setup/self-check.mjs')
  const check = run([process.execPath, program], { cwd: root, log: path.join(logs, 'self-check.log'), env })
  const output = await check.catch((error) => {
    throw new SetupProblem(
      `${error.message}\nthe parts do not work together; delete .venv and .setup, and run set-up again`,
    )
  })
  const summary = output.split('\n').find((line) => line.startsWith('node ')) ?? ''
  if (summary === '') throw new SetupProblem(`the self-check printed no versions; its output: ${output}`)
  return summary
}

/** @param {string} file */
function realPath(file) {
  return existsSync(file) ? realpathSync(file) : file
}
