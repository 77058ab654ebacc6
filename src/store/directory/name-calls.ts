import { randomUUID } from 'node:crypto'
import { closeSync, fsync, linkSync, lstatSync, mkdirSync, openSync, type Stats } from 'node:fs'
import { constants, link, lstat, lutimes, mkdir, open, rmdir, statfs, unlink } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { isErrno } from '../../core/errors.ts'

/** The file system calls of gets and puts, made in the way that suits the file system. No link is followed. */
export interface NameCalls {
  /** Null when there is nothing. */
  stat(file: string): Promise<Stats | null>
  /** Whether a file is there, as the server of the file system says: names that this machine caches do not count. */
  sees(file: string): Promise<boolean>
  /**
   * Whether the file that a name stands for still has a name, decided by a step of the server that only a living file
   * allows: its times are set, to what they are. `aside`, for a file of another user, whose times one may not set: a free name in a folder of one's own, on the same file system; it is free again afterwards.
   * @throws ENOENT when that folder is gone.
   */
  holds(file: string, aside: string): Promise<boolean>
  /** From here on the name stands for what the server says, whatever this machine has cached. */
  refresh(file: string): Promise<void>
  makeFolder(dir: string): Promise<void>
  /** An empty file, which must not be there yet. */
  makeFile(file: string): Promise<void>
  /** A second name for a file, which must be free. */
  link(file: string, name: string): Promise<void>
  /** A name in a folder outlasts a power cut only when the folder itself was synced. */
  syncFolder(dir: string): Promise<void>
}

const FOLDER = { mode: 0o700 }
const FILE_MODE = 0o600
const AS_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY
const synced = promisify(fsync)

/**
 * For local file systems: synchronous calls in the event loop, except for syncing. Each takes 3 to 15 µs, while a libuv
 * thread adds 30 to 100 µs, and much more while a sample is read on all cores. Beside processes that sync to the same
 * disk all the time, 1 % of the calls take 0.2 ms and 0.1 % a few ms.
 */
export const localCalls: NameCalls = {
  stat: async (file) => lstatSync(file, { throwIfNoEntry: false }) ?? null,
  sees: async (file) => lstatSync(file, { throwIfNoEntry: false }) !== undefined,
  holds: async (file) => lstatSync(file, { throwIfNoEntry: false }) !== undefined,
  refresh: async () => {},
  makeFolder: async (dir) => mkdirSync(dir, FOLDER),
  makeFile: async (file) => closeSync(openSync(file, 'wx', FILE_MODE)),
  link: async (file, name) => linkSync(file, name),
  syncFolder: async (dir) => {
    const folder = openSync(dir, AS_FOLDER)
    try {
      await synced(folder)
    } finally {
      closeSync(folder)
    }
  },
}

/** For file systems where a call may wait for another machine: a libuv thread waits, not the event loop. */
export const remoteCalls: NameCalls = {
  stat: (file) => lstat(file).catch(nothing),
  sees: isTaken,
  holds: stillHas,
  refresh: async (file) => void (await isTaken(file)),
  makeFolder: (dir) => mkdir(dir, FOLDER),
  makeFile: async (file) => (await open(file, 'wx', FILE_MODE)).close(),
  link,
  syncFolder: async (dir) => {
    const folder = await open(dir, AS_FOLDER)
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
}

/** For NFS, where an open asks the server and the first step of a creation does not. */
export const nfsCalls: NameCalls = {
  ...remoteCalls,
  sees: async (file) => {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(nothing)
    await handle?.close()
    return handle !== null
  },
  refresh: async () => {},
}

/** ext2 to ext4, xfs, btrfs, tmpfs, zfs: by their numbers in linux/magic.h. */
const LOCAL = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x2fc12fc1])
const NFS = 0x6969

export async function nameCallsFor(dir: string): Promise<NameCalls> {
  // Signed on some platforms, where it has 32 bits.
  const type = (await statfs(dir)).type >>> 0
  if (LOCAL.has(type)) return localCalls
  return type === NFS ? nfsCalls : remoteCalls
}

const NO_TIMES = ['EPERM', 'EACCES', 'EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'] as const

// A name that is taken is EEXIST before anything else is looked at.
const FREE = ['EPERM', 'ENOENT', 'EXDEV', 'EACCES', 'EROFS'] as const

/**
 * Asks with a creation that cannot succeed. The kernel asks the server whether the name of an exclusive creation is free,
 * even where it has cached the name, and then refuses, because no folder gets a second name.
 */
async function isTaken(file: string): Promise<boolean> {
  try {
    await link(path.dirname(file), file)
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return true
    if (isErrno(error, ...FREE)) return false
    throw error
  }
  throw new Error(`this file system gave a folder a second name: ${file}`)
}

async function stillHas(file: string, aside: string, tries = 3): Promise<boolean> {
  try {
    const info = await lstat(file)
    await lutimes(file, info.atimeMs / 1000, info.mtimeMs / 1000)
    // A removed file that somebody has open still takes times. With them the server has told how many names it has.
    if ((await lstat(file)).nlink > 0) return true
    await expectOwnFolder(path.dirname(aside))
    return false
  } catch (error) {
    if (isErrno(error, ...NO_TIMES)) return isLinkable(file, aside)
    if (tries > 1 && isErrno(error, 'ENOENT') && (await isOnServer(file))) return stillHas(file, aside, tries - 1)
    return isGone(error, file, aside)
  }
}

/** Asks again for a file that was not found: this machine may have cached that the file, or its folder, is not there. */
export async function isOnServer(file: string): Promise<boolean> {
  return (await isTaken(path.dirname(file))) && (await isTaken(file))
}

async function isLinkable(file: string, aside: string): Promise<boolean> {
  try {
    await link(file, aside)
  } catch (error) {
    // Refused for another reason: no plain file, one of another user, or one with all the names that it may have.
    if (isErrno(error, 'EPERM', 'EMLINK')) return isTaken(file)
    return isGone(error, file, aside)
  }
  await unlink(aside)
  return true
}

/** False for an error that says that the file is gone; throws all others. */
async function isGone(error: unknown, file: string, aside: string): Promise<false> {
  // GlusterFS may say EIO of a file that another machine removes at this moment.
  if (!isErrno(error, 'ENOENT', 'ESTALE') && !(isErrno(error, 'EIO') && !(await isTaken(file)))) throw error
  await expectOwnFolder(path.dirname(aside))
  return false
}

/** Makes something in a folder of one's own, because a look might come out of a cache. @throws ENOENT when it was taken away. */
export async function expectOwnFolder(dir: string): Promise<void> {
  const probe = path.join(dir, `${randomUUID()}.probe`)
  try {
    await mkdir(probe, FOLDER)
  } catch (error) {
    // A folder that is not there cannot be full.
    if (isErrno(error, 'ENOSPC', 'EDQUOT')) return
    throw error
  }
  await rmdir(probe)
}

function nothing(error: unknown): null {
  if (isErrno(error, 'ENOENT')) return null
  throw error
}
