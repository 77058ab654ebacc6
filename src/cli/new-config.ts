import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../core/errors.ts'
import { makeFolder } from '../core/files/make-folder.ts'
import { CONFIG_TEMPLATE } from './texts/config-template.ts'

/** Writes the template; never over a file that is there. */
export async function writeNewFile(file: string): Promise<void> {
  await makeFolder(path.dirname(file), 'DIR')
  try {
    await writeFile(file, CONFIG_TEMPLATE, { flag: 'wx' })
  } catch (cause) {
    if (!isErrno(cause, 'EEXIST')) throw cause
    const fix = 'move it away first, or name another folder: draftbridge init DIR'
    throw finding('CONFIG_INVALID', 'there is a config already, and it stays as it is', { file, fix }, { cause })
  }
}
