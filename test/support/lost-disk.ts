import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pythonProgram } from './training.ts'

/** EXT4_IOC_SHUTDOWN, without writing the log back. */
const SHUTDOWN = `
import fcntl, os, struct, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))
`

export interface LostDisk extends AsyncDisposable {
  readonly dir: string
  /** From here on nearly every call fails with EIO. */
  lose(): void
  /** Unmounted although it is in use, as `umount -l` does: what is below the mount point shows. */
  unmount(): void
  /** Remounted read-only. Waits until nobody has a file open for writing. */
  makeReadOnly(): Promise<void>
  /** After `unmount` or `makeReadOnly`. */
  heal(): void
}

/** A real file system that can be lost under way. The reason as text where none can be mounted. */
export async function lostDisk(): Promise<LostDisk | string> {
  const above = await mkdtemp(path.join(tmpdir(), 'draftbridge-lost-'))
  const [image, dir] = [path.join(above, 'image'), path.join(above, 'disk')]
  try {
    execFileSync('truncate', ['-s', '256M', image], { stdio: 'pipe' })
    execFileSync('mkfs.ext4', ['-q', image], { stdio: 'pipe' })
    execFileSync('mkdir', [dir])
    execFileSync('mount', ['-o', 'loop', image, dir], { stdio: 'pipe' })
  } catch (error) {
    await rm(above, { recursive: true })
    return `no disk that can be lost can be mounted here: ${error instanceof Error ? error.message.split('\n')[0] : error}`
  }
  return {
    dir,
    lose: () => void execFileSync(pythonProgram, ['-c', SHUTDOWN, dir], { stdio: 'pipe' }),
    unmount: () => void execFileSync('umount', ['-l', dir]),
    makeReadOnly: async () => {
      while (spawnSync('mount', ['-o', 'remount,ro', dir]).status !== 0) await sleep(1)
    },
    heal: () => {
      const isMounted = spawnSync('mount', ['-o', 'remount,rw', dir]).status === 0
      if (!isMounted) execFileSync('mount', ['-o', 'loop', image, dir], { stdio: 'pipe' })
    },
    [Symbol.asyncDispose]: async () => {
      spawnSync('umount', ['-l', dir])
      await rm(above, { recursive: true })
    },
  }
}
