import { randomBytes } from 'node:crypto'
import { lstatSync, renameSync, rmSync, statfsSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import path from 'node:path'
import { isErrno } from '../errors.ts'

/** In the kernel's own memory on Linux; a container that has its own /dev/shm cannot see ours. */
const FOLDER = '/dev/shm'
const TMPFS = 0x01021994

/** `open`: its process lives. `closed`: it has ended. `unseen`: nothing can be said from here. */
export type WitnessState = 'open' | 'closed' | 'unseen'

/**
 * A socket that the kernel closes when its process ends in any way. Its name is random, and it lies in a file system
 * that exists only in the memory of one kernel. So a process that finds it there runs on the same kernel. Host names,
 * boot ids, pids and the clocks of namespaces prove nothing and are not compared.
 *
 * Processes that a virtual machine's snapshot copied are the exception: they exist twice, witness and all.
 */
export class Witness implements AsyncDisposable {
  readonly token: string
  readonly #server: Server
  readonly #folder: string

  /** Null where there is no such file system, or it cannot be written. */
  static async open(folder = FOLDER): Promise<Witness | null> {
    if (!isKernelMemory(folder)) return null
    const token = randomBytes(16).toString('hex')
    const server = createServer((client) => client.destroy())
    try {
      await listening(server, `${fileOf(folder, token)}.new`)
      // On a normal exit Node may remove the name that it has bound. Under another name the closed socket stays visible.
      renameSync(`${fileOf(folder, token)}.new`, fileOf(folder, token))
    } catch (error) {
      server.close()
      if (isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'ENOENT', 'EMFILE', 'ENFILE')) return null
      throw error
    }
    server.unref()
    return new Witness(token, server, folder)
  }

  private constructor(token: string, server: Server, folder: string) {
    this.token = token
    this.#server = server
    this.#folder = folder
  }

  async [Symbol.asyncDispose](): Promise<void> {
    removeWitness(this.token, this.#folder)
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}

export async function witnessState(token: string, folder = FOLDER): Promise<WitnessState> {
  const file = fileOf(folder, token)
  if (!isKernelMemory(folder) || lstatSync(file, { throwIfNoEntry: false })?.isSocket() !== true) return 'unseen'
  return new Promise((resolve) => {
    const client = connect(file, () => {
      client.destroy()
      resolve('open')
    })
    client.on('error', (error) => {
      if (isErrno(error, 'ECONNREFUSED')) resolve('closed')
      // More connections wait than the queue holds: its process is stopped, and there.
      else resolve(isErrno(error, 'EAGAIN') ? 'open' : 'unseen')
    })
  })
}

/** Of a holder that has ended or is fenced. */
export function removeWitness(token: string, folder = FOLDER): void {
  rmSync(fileOf(folder, token), { force: true })
}

const fileOf = (folder: string, token: string): string => path.join(folder, `draftbridge-${token}`)

function isKernelMemory(folder: string): boolean {
  try {
    // Signed on some platforms, where it has 32 bits.
    return process.platform === 'linux' && statfsSync(folder).type >>> 0 === TMPFS
  } catch {
    return false
  }
}

async function listening(server: Server, file: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(file, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
