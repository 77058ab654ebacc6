import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { CodedError, type Finding, isErrno } from '../../core/errors.ts'

/** One thing that was looked at. `id` stays the same over releases, for scripts. */
export interface Check {
  readonly id: string
  readonly state: 'ok' | 'warning' | 'error'
  readonly reason: string
  readonly fix?: string
}

/** What is looked at, and what to do when it is not there. */
export interface Wanted {
  readonly id: string
  readonly fix: string
}

export async function readable({ id, fix }: Wanted, file: string): Promise<Check> {
  try {
    await access(file, constants.R_OK)
    return { id, state: 'ok', reason: file }
  } catch (error) {
    const why = isErrno(error, 'ENOENT', 'ENOTDIR') ? 'does not exist' : 'cannot be read'
    return { id, state: 'error', reason: `${file} ${why}`, fix }
  }
}

/** `look` says what it found, or throws an error with a code; one that says itself what to do knows better. */
export async function checked({ id, fix }: Wanted, look: () => Promise<string>): Promise<Check> {
  try {
    return { id, state: 'ok', reason: await look() }
  } catch (error) {
    // The system's errors have a code too; others are bugs.
    if (!(error instanceof Error && 'code' in error)) throw error
    const details: Finding = error instanceof CodedError ? error.details : {}
    const [what] = error.message.split('\n')
    const reason = [details.file, what, details.found].filter((part) => part !== undefined).join(': ')
    return { id, state: 'error', reason, fix: details.fix ?? fix }
  }
}
