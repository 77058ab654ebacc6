import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, rmdir, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { finding, isErrno } from '../errors.ts'
import { isRunning, ProcessIdentity, thisProcess } from './process-identity.ts'

const BEAT_MS = 10_000
/** A holder that cannot be looked at from here and has not been heard of for this long is gone. */
const SILENT_MS = 60_000
const ROUNDS = 20

export interface ClaimOptions {
  /** Told to whoever takes the claim over, should this process die with it. */
  readonly memberId?: string
  /** Makes sure that the former holder, should it wake up, does no more harm. Done before its claim is taken over. */
  readonly fence?: (memberId: string) => Promise<void>
}

const Holder = ProcessIdentity.extend({ memberId: ProcessIdentity.shape.host.optional() })
type Holder = ReturnType<typeof Holder.parse>

/**
 * The right to be the only process that does one kind of work in `dir`, until it is disposed or its process ends.
 * A dead holder on this machine is found out at once, by pid and start time; one elsewhere once its file stops being
 * touched, by the file system's own clock.
 *
 * `.<work>.holder.<id>` says who a process is, and is there before and after `<id>` is in the folder `.<work>.claim`,
 * which holds one name at most: it is put there by renaming a prepared folder over an empty one, and taken over by
 * renaming the dead holder's name to one's own. Either succeeds for one of those that try.
 * @throws STORE_BUSY naming the holder.
 */
export async function claimFolder(dir: string, work: string, options: ClaimOptions = {}): Promise<AsyncDisposable> {
  const claim = new FolderClaim(dir, work, options)
  await claim.take()
  return claim
}

class FolderClaim implements AsyncDisposable {
  readonly #dir: string
  readonly #work: string
  readonly #options: ClaimOptions
  readonly #id = randomUUID()
  #beat: NodeJS.Timeout | undefined

  constructor(dir: string, work: string, options: ClaimOptions) {
    this.#dir = dir
    this.#work = work
    this.#options = options
  }

  async take(): Promise<void> {
    const { memberId } = this.#options
    const mine = { ...(await thisProcess()), ...(memberId === undefined ? {} : { memberId }) }
    await writeFile(this.#holderFile(this.#id), JSON.stringify(mine), { mode: 0o600, flag: 'wx' })
    try {
      await this.#takeFolder()
    } catch (error) {
      await rm(this.#holderFile(this.#id), { force: true })
      throw error
    }
    // A beat that fails is made up for by the next one; what is wrong with the folder is for the work to say.
    this.#beat = setInterval(() => touch(this.#holderFile(this.#id)).catch(() => undefined), BEAT_MS)
    this.#beat.unref()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#beat)
    await unlink(this.#name(this.#id)).catch(unlessGone)
    await rmdir(this.#folder).catch(unlessGone)
    await rm(this.#holderFile(this.#id), { force: true })
  }

  async #takeFolder(): Promise<void> {
    for (let round = 0; !(await this.#created()); round += 1) {
      for (const holder of await namesIn(this.#folder)) if (await this.#tookOver(holder, round)) return
    }
  }

  async #created(): Promise<boolean> {
    const prepared = `${this.#folder}.${this.#id}`
    await mkdir(prepared, { mode: 0o700 })
    try {
      await writeFile(path.join(prepared, this.#id), '', { mode: 0o600 })
      await rename(prepared, this.#folder)
      return true
    } catch (error) {
      if (isErrno(error, 'ENOTEMPTY', 'EEXIST')) return false
      throw error
    } finally {
      await rm(prepared, { recursive: true, force: true })
    }
  }

  async #tookOver(id: string, round: number): Promise<boolean> {
    const text = await readOrNull(this.#holderFile(id))
    const holder = text === null ? null : parsed(text)
    if (round > ROUNDS || (text !== null && (await this.#isHeld(id, holder)))) throw this.#busy(holder)
    if (holder?.memberId !== undefined) await this.#options.fence?.(holder.memberId)
    try {
      await rename(this.#name(id), this.#name(this.#id))
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false
      throw error
    }
    await rm(this.#holderFile(id), { force: true })
    return true
  }

  async #isHeld(id: string, holder: Holder | null): Promise<boolean> {
    const running = holder === null ? null : await isRunning(holder)
    if (running !== null) return running
    const probe = `${this.#holderFile(this.#id)}.probe`
    await writeFile(probe, 'x', { mode: 0o600 })
    try {
      return (await writtenAt(probe)) - (await writtenAt(this.#holderFile(id))) < SILENT_MS
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false
      throw error
    } finally {
      await rm(probe, { force: true })
    }
  }

  get #folder(): string {
    return path.join(this.#dir, `.${this.#work}.claim`)
  }

  #name(id: string): string {
    return path.join(this.#folder, id)
  }

  #holderFile(id: string): string {
    return path.join(this.#dir, `.${this.#work}.holder.${id}`)
  }

  #busy(holder: Holder | null): Error {
    return finding('STORE_BUSY', `another process is at work here (${this.#work})`, {
      file: this.#folder,
      found: holder === null ? 'a claim that names nobody' : `process ${holder.pid} on ${holder.host}`,
      fix: 'wait until it ends, or give this one a folder of its own',
    })
  }
}

// A write, not utimes: it takes the time from the file system's own clock, which all machines share.
async function touch(file: string): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    await handle.write('{', 0)
  } finally {
    await handle.close()
  }
}

// Opened, because a stat alone may come out of an NFS client's cache.
async function writtenAt(file: string): Promise<number> {
  const handle = await open(file, 'r')
  try {
    return (await handle.stat()).mtimeMs
  } finally {
    await handle.close()
  }
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw error
  }
}

function unlessGone(error: unknown): void {
  if (!isErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error
}

function parsed(text: string): Holder | null {
  try {
    return Holder.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}
