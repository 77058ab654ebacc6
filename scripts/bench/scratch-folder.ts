import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'

/** A new folder below `parent`, on the file system that is measured. It is removed with all that is in it when disposed. */
export async function scratchFolder(parent: string): Promise<AsyncDisposable & { readonly dir: string }> {
  await mkdir(parent, { recursive: true })
  const dir = await mkdtemp(path.join(parent, 'draftbridge-bench-'))
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}
