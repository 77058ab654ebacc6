import { existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { buildBridge, nodeHeaders } from './bridge.mjs'
import { installNodePackages, installPythonPackages, makeVenv, nodePackagesInStep, venvBelongsTo } from './packages.mjs'
import { venvDescription } from './preflight.mjs'
import { SetupProblem } from './problem.mjs'
import { BEGUN, writeStamp } from './stamp.mjs'
import { run, say, step } from './step.mjs'

/** @import { Checkout } from './checkout.mjs' */
/** @import { Tools } from './preflight.mjs' */
/** @import { Stamp, Step } from './stamp.mjs' */

/**
 * Does the steps that are due. Each is struck from the stamp before it begins and entered after it ends, so whatever
 * interrupts it, the next set-up does it again.
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
      // It ended by itself, so it cleaned up after itself: to be done again, but no reason to distrust what is there.
      enter(name, '')
      throw error
    }
    enter(name)
  }
  const rows = ROWS.map((row) => due.filter((name) => row.includes(name)))
  await allEnded(rows.map((row) => inOrder(row, perform)))
  if (!due.includes('check')) return
  await perform('check')
  say(summary)
}

/**
 * Two rows of steps that need nothing of each other: pip waits for the network while the compiler works.
 * @type {Step[][]}
 */
const ROWS = [
  ['node', 'bridge'],
  ['venv', 'python', 'dev'],
]

/**
 * @param {Step[]} row
 * @param {(name: Step) => Promise<void>} perform
 */
async function inOrder(row, perform) {
  for (const name of row) await perform(name)
}

/**
 * Fails like the first that fails, but only when all have ended: none may go on writing after the lock is released.
 * @param {Promise<void>[]} rows
 */
async function allEnded(rows) {
  for (const row of await Promise.allSettled(rows)) if (row.status === 'rejected') throw row.reason
}

/**
 * `begun`: an earlier set-up was killed in this step; `packagesBegun`: in the one that installs Python packages.
 * @typedef {{ begun: boolean, packagesBegun: boolean }} Circumstances
 * @type {Record<Exclude<Step, 'check'>, (checkout: Checkout, tools: Tools, about: Circumstances) => Promise<void>>}
 */
const WORK = {
  async node(checkout, { npm }, { begun }) {
    if (!begun && nodePackagesInStep(checkout)) return
    await step('node packages', () => installNodePackages(checkout, npm))
  },

  async venv(checkout, { python }, { begun, packagesBegun }) {
    const description = venvDescription(checkout)
    const ours = description !== null && venvBelongsTo(description, python, realPath)
    if (ours && !begun && !packagesBegun) return
    if (description !== null && !ours) say(`.venv belongs to another Python than ${python.version}; it is made anew`)
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
 * In a process of its own, with the environment that the bridge gives itself.
 * @param {Checkout} checkout
 * @param {Tools} tools
 * @returns {Promise<string>} one line of versions
 */
async function selfCheck({ root, venv, logs }, { python }) {
  const env = { DRAFTBRIDGE_VENV: venv, EXPECTED_PYTHON: python.version, PYTHONPATH: path.join(root, 'python') }
  const program = path.join(root, 'scripts/setup/self-check.mjs')
  const check = run([process.execPath, program], { cwd: root, log: path.join(logs, 'self-check.log'), env })
  const output = await check.catch((error) => {
    throw new SetupProblem(`${error.message}\nthe parts do not work together; delete .venv and .setup to start anew`)
  })
  const summary = output.split('\n').find((line) => line.startsWith('node ')) ?? ''
  if (summary === '') throw new SetupProblem(`the self-check ended without a word; its output: ${output}`)
  return summary
}

/** @param {string} file */
function realPath(file) {
  return existsSync(file) ? realpathSync(file) : file
}
