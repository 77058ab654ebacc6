import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, it } from 'vitest'

/** xfs and btrfs lie in a file of their own, through a loop device. */
export type KernelKind = 'tmpfs' | 'overlay' | 'xfs' | 'btrfs'

/** mkfs.xfs makes none below 300 MB; only what is written takes memory. */
const IMAGE_BYTES = 400 * 1024 ** 2

const mount = (...args: readonly string[]): string | null => {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' })
  return status === 0 ? null : stderr.trim()
}

const endings: (() => Promise<void>)[] = []
afterAll(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

/** Why this kernel mounts no `kind` here; null where it does. */
function whyNot(kind: KernelKind): string | null {
  if (process.getuid?.() !== 0) return `mounting ${kind} needs root`
  const known = spawnSync('grep', ['-qw', kind, '/proc/filesystems']).status === 0
  if (!known) return `this kernel has no ${kind}`
  const inFile = kind === 'xfs' || kind === 'btrfs'
  return inFile && spawnSync(`mkfs.${kind}`, ['-V']).status !== 0 ? `mkfs.${kind} is not installed` : null
}

/** A `describe` whose tests mount a file system of the kernel. Where that is impossible, one test says why. */
export function describeOnKernel(kind: KernelKind, tests: () => void): void {
  const reason = whyNot(kind)
  if (reason === null) describe(kind, tests)
  else it(kind, (context) => context.skip(reason))
}

/** A new, empty file system; an overlay has its layers on a tmpfs. */
export async function kernelMounts(kind: KernelKind): Promise<string> {
  const top = await mkdtemp(path.join(tmpdir(), `draftbridge-${kind}-`))
  endings.push(() => rm(top, { recursive: true, force: true }))
  mounted('-t', 'tmpfs', 'tmpfs', top)
  endings.push(async () => void spawnSync('umount', ['-l', top]))
  if (kind === 'tmpfs') return top
  if (kind !== 'overlay') return inFile(kind, top)
  const [lower, upper, work, point] = ['lower', 'upper', 'work', 'point'].map((name) => path.join(top, name))
  for (const dir of [lower, upper, work, point]) await mkdir(dir as string)
  mounted('-t', 'overlay', 'overlay', '-o', `lowerdir=${lower},upperdir=${upper},workdir=${work}`, point as string)
  endings.push(async () => void spawnSync('umount', ['-l', point as string]))
  return point as string
}

async function inFile(kind: KernelKind, top: string): Promise<string> {
  const [file, point] = [path.join(top, 'image'), path.join(top, 'point')]
  await mkdir(point)
  await writeFile(file, '')
  await truncate(file, IMAGE_BYTES)
  const { status, stderr } = spawnSync(`mkfs.${kind}`, ['-q', file], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  mounted('-o', 'loop', file, point)
  endings.push(async () => void spawnSync('umount', ['-l', point]))
  return point
}

function mounted(...args: readonly string[]): void {
  const failure = mount(...args)
  if (failure !== null) throw new Error(failure)
}
