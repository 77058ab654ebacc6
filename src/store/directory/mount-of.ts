import { readFile, stat } from 'node:fs/promises'

/** A mounted file system, as /proc/self/mountinfo has it (proc(5)): `fuse.glusterfs` from `server:/volume`. */
export interface Mount {
  readonly type: string
  readonly source: string
}

/** The mount that `dir` lies on. Null where the kernel does not say. */
export async function mountOf(dir: string): Promise<Mount | null> {
  const { dev } = await stat(dir, { bigint: true })
  const wanted = `${major(dev)}:${minor(dev)}`
  const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
  for (const line of table.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [type = '', source = ''] = after.split(' ')
    if (before.split(' ')[2] === wanted) return { type, source: source.replaceAll('\\040', ' ') }
  }
  return null
}

// As gnu_dev_major and gnu_dev_minor of glibc split a device number.
const major = (dev: bigint): bigint => ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)
const minor = (dev: bigint): bigint => (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)
