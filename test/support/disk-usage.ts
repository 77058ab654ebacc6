import { lstat, readdir } from 'node:fs/promises'
import path from 'node:path'

/** The bytes of all files below these folders as `du --apparent-size` counts them, without folders: each inode once. */
export async function diskUsage(root: string, folders: readonly string[]): Promise<number> {
  const sizes = new Map<bigint, bigint>()
  for (const folder of folders) {
    const entries = await readdir(path.join(root, folder), { recursive: true, withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      if (entry.isDirectory()) continue
      const { ino, size } = await lstat(path.join(entry.parentPath, entry.name), { bigint: true })
      sizes.set(ino, size)
    }
  }
  return Number([...sizes.values()].reduce((sum, size) => sum + size, 0n))
}
