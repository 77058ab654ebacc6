import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../core/errors.ts'
import { makeFolder } from '../core/files/make-folder.ts'
import { CONFIG_TEMPLATE } from './texts/config-template.ts'

/** Writes the config template to `file`. Never overwrites. @throws CONFIG_INVALID when the file exists. */
export async function writeNewFile(file: string): Promise<void> {
  await makeFolder(path.dirname(file), 'DIR')
  try {
    await writeFile(file, CONFIG_TEMPLATE, { flag: 'wx' })
  } catch (cause) {
    if (!isErrno(cause, 'EEXIST')) throw cause
    const fix = 'name another folder (draftbridge init DIR), or move that file away first'
    throw finding(
      'CONFIG_INVALID',
      'the config file exists already, and init never overwrites',
      { file, fix },
      { cause },
    )
  }
}
