import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { CodedError, type Finding, isErrno } from '../../core/errors.ts'

/** The result of one check. Scripts rely on `id`: it stays the same in later releases. */
export interface Check {
  readonly id: string
  readonly state: 'ok' | 'warning' | 'error'
  readonly reason: string
  readonly fix?: string
}

/** A check before it runs. `fix`: what the user can do when it fails. */
export interface CheckSpec {
  readonly id: string
  readonly fix: string
}

export async function readable({ id, fix }: CheckSpec, file: string): Promise<Check> {
  try {
    await access(file, constants.R_OK)
    return { id, state: 'ok', reason: file }
  } catch (error) {
    const why = isErrno(error, 'ENOENT', 'ENOTDIR') ? 'does not exist' : 'cannot be read'
    return { id, state: 'error', reason: `${file} ${why}`, fix }
  }
}

/** Runs `inspect`, which returns the reason for `ok` or throws. The fix of a coded error wins over that of the check. */
export async function checked({ id, fix }: CheckSpec, inspect: () => Promise<string>): Promise<Check> {
  try {
    return { id, state: 'ok', reason: await inspect() }
  } catch (error) {
    // Errors of the system have a code too. An error without a code is a bug.
    if (!(error instanceof Error && 'code' in error)) throw error
    const details: Finding = error instanceof CodedError ? error.details : {}
    const [what] = error.message.split('\n')
    const reason = [details.file, what, details.found].filter((part) => part !== undefined).join(': ')
    return { id, state: 'error', reason, fix: details.fix ?? fix }
  }
}
