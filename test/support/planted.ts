import { execFileSync } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'

interface Planting {
  /** What the error says is there. */
  readonly found: string
  /** Puts it in the place of `file`, where nothing is. Gone for good with what this returns, if it needs an owner. */
  readonly plant: (file: string) => Promise<AsyncDisposable>
}

const KEPT: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined }

async function pipe(file: string): Promise<AsyncDisposable> {
  execFileSync('mkfifo', [file])
  return KEPT
}

async function folder(file: string): Promise<AsyncDisposable> {
  await mkdir(file)
  return KEPT
}

/** A link to a file that is right in itself. */
async function toAFile(file: string): Promise<AsyncDisposable> {
  await writeFile(`${file}.target`, '{}')
  await symlink(`${file}.target`, file)
  return KEPT
}

async function toADevice(file: string): Promise<AsyncDisposable> {
  await symlink('/dev/zero', file)
  return KEPT
}

async function socket(file: string): Promise<AsyncDisposable> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(file, resolve))
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) }
}

/** What may lie in the place of a file in a folder that others can write to. */
export const plantings: Readonly<Record<string, Planting>> = {
  'a pipe': { found: 'a pipe', plant: pipe },
  'a folder': { found: 'a folder', plant: folder },
  'a link to a file': { found: 'a symbolic link', plant: toAFile },
  'a link to a device': { found: 'a symbolic link', plant: toADevice },
  'a socket': { found: 'a socket', plant: socket },
}
