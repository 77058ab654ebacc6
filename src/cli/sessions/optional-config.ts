import { access } from 'node:fs/promises'
import { loadConfig } from '../../config/load.ts'
import type { RunConfig } from '../../config/schema.ts'
import { isErrno } from '../../core/errors.ts'
import type { RunFlags } from '../flags.ts'

/** The config, or null when the default file does not exist. `explicit`: the user named the file, so it must exist. */
export async function optionalConfig(flags: RunFlags, explicit: boolean): Promise<RunConfig | null> {
  if (!explicit && !(await exists(flags.config))) return null
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
