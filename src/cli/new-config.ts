import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../core/errors.ts'
import { makeFolder } from '../core/files/make-folder.ts'
import { configTemplate } from './texts/config-template.ts'

/** Writes the config template to `file`. Never overwrites. @throws CONFIG_INVALID when the file exists. */
export async function writeNewFile(file: string): Promise<void> {
  await makeFolder(path.dirname(file), 'DIR')
  try {
    await writeFile(file, configTemplate(newRunId(path.dirname(file))), { flag: 'wx' })
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

/** The folder's name and a random part: projects that share a store must not have runs of one id. */
function newRunId(dir: string): string {
  const name = path
    .basename(dir)
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '')
  return `${name.slice(0, 40) || 'run'}-${randomBytes(4).toString('hex')}`
}
