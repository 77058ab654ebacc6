import { execFile } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { isErrno } from '../../core/errors.ts'
import { removedAtEnd } from '../../core/files/removed-at-end.ts'
import { unavailable } from '../../core/files/storage-error.ts'
import { expectOwnFolder } from './name-calls.ts'

const SECONDS = 20

/**
 * What the other process does in the folder: it tries to create a name that this process has created, to put a folder in
 * the place of one that is not empty, and takes away the folder `own`. It prints which of the first two succeeded.
 */
const OTHER = `
const fs = require('node:fs')
const dir = process.argv[1]
const tried = (step) => { try { step(); return true } catch (error) { return error.code } }
fs.mkdirSync(dir + '/theirs')
fs.writeFileSync(dir + '/theirs/theirs', '')
const created = tried(() => fs.closeSync(fs.openSync(dir + '/taken', 'wx')))
const replaced = tried(() => fs.renameSync(dir + '/theirs', dir + '/held'))
// Looked for by the other one: NFS may do the rename and lose the answer.
tried(() => fs.renameSync(dir + '/own', dir + '/away'))
process.stdout.write(JSON.stringify({ created: created === true, replaced: replaced === true }))
`

/** Tries in `dir`, an empty folder, what two processes do to each other. What they could not agree on; null when all is well. */
export async function trySecondProcess(dir: string): Promise<string | null> {
  const place = path.join(dir, 'probe.two')
  await mkdir(place, { mode: 0o700 })
  await using _place = removedAtEnd(place)
  const [taken, held, own] = ['taken', 'held', 'own'].map((name) => path.join(place, name)) as [string, string, string]
  await writeFile(taken, '', { flag: 'wx', mode: 0o600 })
  for (const each of [held, own]) await mkdir(each, { mode: 0o700 })
  await writeFile(path.join(held, 'ours'), '', { mode: 0o600 })
  // Known here from now on, so that a name that is only cached would show.
  await readdir(own)
  const { created, replaced } = await runOther(place)
  if (created) return 'both created the same file'
  if (replaced) return 'one replaced a folder that was not empty'
  const left = await expectOwnFolder(own).then(
    () => false,
    (error: unknown) => isErrno(error, 'ENOENT', 'ESTALE'),
  )
  return left ? null : 'one could write to a folder that the other one had taken away'
}

async function runOther(place: string): Promise<{ readonly created: boolean; readonly replaced: boolean }> {
  const { NODE_OPTIONS: _, ...env } = process.env
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', OTHER, place], {
      env,
      timeout: SECONDS * 1000,
    })
    const said: unknown = JSON.parse(stdout)
    if (typeof said !== 'object' || said === null) throw new Error(`no answer: ${stdout}`)
    return {
      created: 'created' in said && said.created === true,
      replaced: 'replaced' in said && said.replaced === true,
    }
  } catch (cause) {
    const found =
      cause instanceof Error ? (cause.message.split('\n').find((line) => /E[A-Z]{3,}/.test(line)) ?? cause.message) : ''
    const fix = 'check the mount: touch and rename a file there by hand'
    throw unavailable(
      'a second process cannot use this file system',
      { file: place, found: found.slice(0, 200), fix },
      cause,
    )
  }
}
