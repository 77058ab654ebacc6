/** What `sysexits` calls "unavailable"; the same status that PYTHON_UNAVAILABLE has in src/core/errors.ts. */
export const UNAVAILABLE = 69

/** Why set-up cannot continue, for the person at the terminal. Not used for bugs of set-up itself. */
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
 * One message that lists everything that is missing, so that one installation fixes all of it.
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
