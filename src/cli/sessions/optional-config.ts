import { access } from 'node:fs/promises'
import { loadConfig } from '../../config/load.ts'
import type { RunConfig } from '../../config/schema.ts'
import { isErrno } from '../../core/errors.ts'
import type { RunFlags } from '../flags.ts'

/** The config when there is one; a file that was named on the command line must be there. */
export async function configIfThere(flags: RunFlags, named: boolean): Promise<RunConfig | null> {
  if (!named && !(await exists(flags.config))) return null
  return loadConfig({ file: flags.config, env: process.env, sets: flags.set })
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}
