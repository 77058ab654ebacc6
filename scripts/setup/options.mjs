import { parseArgs } from 'node:util'
import { SetupProblem } from './problem.mjs'

export const USAGE = `npm run setup [-- options]     (the other npm scripts call it themselves)

  --python PATH   build against this interpreter (else DRAFTBRIDGE_PYTHON, else the first on PATH that can be embedded)
  --dev           also install the Python packages of tests and checks
  --quiet         print only when there is something to do
`

/** @typedef {{ python?: string | undefined, dev: boolean, quiet: boolean }} Options */

/**
 * @param {string[]} args
 * @returns {Options | null} null when the user asked for help
 */
export function parseOptions(args) {
  const flag = /** @type {const} */ ({ type: 'boolean', default: false })
  try {
    const { values } = parseArgs({
      args,
      options: { python: { type: 'string' }, dev: flag, quiet: flag, help: { ...flag, short: 'h' } },
    })
    return values.help ? null : { python: values.python, dev: values.dev, quiet: values.quiet }
  } catch (error) {
    throw new SetupProblem(`${error instanceof Error ? error.message : error}\n\n${USAGE}`)
  }
}
