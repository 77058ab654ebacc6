import { lstatSync, type Stats } from 'node:fs'
import { constants, lstat, open, statfs } from 'node:fs/promises'
import { isErrno } from '../../core/errors.ts'

/** Looks at names, in a way that suits the file system that they are on. Nothing is followed. */
export interface Looks {
  /** Null when there is nothing. */
  stat(file: string): Promise<Stats | null>
  /** Whether a plain file is there, whoever on whichever machine has put it there up to now. */
  sees(file: string): Promise<boolean>
}

/**
 * A look that the kernel answers from its memory takes 3 µs; handing it to a thread of libuv and waking up again takes
 * ten times that, and a get or a put makes ten of them.
 */
export const near: Looks = {
  stat: async (file) => lstatSync(file, { throwIfNoEntry: false }) ?? null,
  sees: async (file) => lstatSync(file, { throwIfNoEntry: false }) !== undefined,
}

/** Where a look may have to wait for another machine, a thread waits and not the event loop. */
export const far: Looks = {
  stat: (file) => lstat(file).catch(nothing),
  // Opened, because what a stat says may come out of an NFS client's cache.
  sees: async (file) => {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(nothing)
    await handle?.close()
    return handle !== null
  },
}

/** ext2 to ext4, xfs, btrfs, tmpfs, zfs: by their numbers in linux/magic.h. */
const LOCAL = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x2fc12fc1])

export async function looksFor(dir: string): Promise<Looks> {
  // Signed on some platforms, where it has 32 bits.
  return LOCAL.has((await statfs(dir)).type >>> 0) ? near : far
}

// ESTALE is how NFS says that a file was removed between two steps.
function nothing(error: unknown): null {
  if (isErrno(error, 'ENOENT', 'ESTALE')) return null
  throw error
}
