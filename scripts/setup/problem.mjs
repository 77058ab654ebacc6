/** What `sysexits` calls "unavailable"; the same status that PYTHON_UNAVAILABLE has in src/core/errors.ts. */
export const UNAVAILABLE = 69

/** A reason why set-up cannot go on, in words for the person at the terminal. Never a bug of ours. */
export class SetupProblem extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message)
    this.name = 'SetupProblem'
  }
}

/**
 * One thing that is missing: what was found, and what to install.
 * @typedef {{ what: string, found: string, debian?: string, fedora?: string, fix?: string }} Missing
 */

/**
 * Everything that is missing in one message, so that it takes one installation to mend and not one per attempt.
 * @param {readonly Missing[]} missing
 */
export function missingMessage(missing) {
  const lines = ['set-up cannot start:']
  for (const { what, found, fix } of missing) {
    lines.push(`  ${what}`, `    found: ${found}`)
    if (fix !== undefined) lines.push(`    fix:   ${fix}`)
  }
  const debian = packages(missing.map((one) => one.debian))
  const fedora = packages(missing.map((one) => one.fedora))
  if (debian !== '') lines.push(`  Debian, Ubuntu: apt-get install ${debian}`)
  if (fedora !== '') lines.push(`  Fedora:         dnf install ${fedora}`)
  return lines.join('\n')
}

/** @param {readonly (string | undefined)[]} names */
function packages(names) {
  return [...new Set(names.flatMap((name) => (name === undefined ? [] : name.split(' '))))].join(' ')
}
