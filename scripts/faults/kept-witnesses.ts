import { execFile } from 'node:child_process'
import { link, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { isErrno } from '../../src/core/errors.ts'

const FOLDER = '/dev/shm'
const grep = promisify(execFile)

/**
 * The witness sockets (src/core/liveness/witness.ts) of the processes whose notes a copied state holds. A killed process
 * leaves its witness behind, closed. The process that was copied lives on, and removes its witness when it ends in order:
 * a hard link keeps the socket, so that `restore` can make the copy look like what a kill leaves.
 */
export class KeptWitnesses implements AsyncDisposable {
  readonly #tokens = new Set<string>()

  /** Call it while the copied process is stopped. */
  async keep(state: string): Promise<void> {
    for (const token of await tokensIn(state)) {
      if (this.#tokens.has(token)) continue
      try {
        await link(socketOf(token), keptOf(token))
        this.#tokens.add(token)
      } catch (error) {
        // Of a process that ended in order before this state.
        if (!isErrno(error, 'ENOENT')) throw error
      }
    }
  }

  /** Call it when the copied process has ended, before each copy is checked: whoever fences a member removes its witness. */
  async restore(): Promise<void> {
    for (const token of this.#tokens) {
      await rm(socketOf(token), { force: true })
      await link(keptOf(token), socketOf(token))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const token of this.#tokens) {
      await rm(keptOf(token), { force: true })
      await rm(socketOf(token), { force: true })
    }
  }
}

const socketOf = (token: string): string => path.join(FOLDER, `draftbridge-${token}`)
const keptOf = (token: string): string => path.join(FOLDER, `draftbridge-kept-${token}`)

async function tokensIn(dir: string): Promise<ReadonlySet<string>> {
  try {
    const { stdout } = await grep('grep', ['-rhoE', '"witness":"[0-9a-f]{32}"', dir])
    return new Set([...stdout.matchAll(/[0-9a-f]{32}/g)].map(([token]) => token))
  } catch (error) {
    // grep ends with 1 when it finds nothing.
    if (error instanceof Error && 'code' in error && error.code === 1) return new Set()
    throw error
  }
}
