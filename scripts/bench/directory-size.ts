import { lstat, readdir } from 'node:fs/promises'
import path from 'node:path'

/** Bytes of the files in `dir`. Each inode counts once, and not at all when it is also linked in `known`. */
export async function directorySize(dir: string, known: string): Promise<number> {
  const seen = new Set((await files(known)).map(({ inode }) => inode))
  let bytes = 0
  for (const { inode, size } of await files(dir)) {
    if (seen.has(inode)) continue
    seen.add(inode)
    bytes += size
  }
  return bytes
}

async function files(dir: string): Promise<readonly { readonly inode: string; readonly size: number }[]> {
  const names = await readdir(dir, { recursive: true })
  const infos = await Promise.all(names.map((name) => lstat(path.join(dir, name), { bigint: true })))
  return infos.flatMap((info) => (info.isFile() ? [{ inode: `${info.dev}:${info.ino}`, size: Number(info.size) }] : []))
}
