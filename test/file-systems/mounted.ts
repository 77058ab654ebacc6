import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, it } from 'vitest'

/** One field each of `Mood` in moods.py, which says what they mean. */
export const moods = {
  plain: {},
  cached: { cache_seconds: 1, negative_seconds: 1 },
  /** Longer than any test: counts of calls do not depend on how fast the machine is. */
  keptCached: { cache_seconds: 3600, negative_seconds: 1 },
  eioForGone: { cache_seconds: 1, negative_seconds: 1, eio_for_gone: true },
  noLinks: { no_links: true },
  /** sshfs: EPERM where ENOTEMPTY is meant. */
  permForNotEmpty: { not_empty: 1 },
  accessForNotEmpty: { not_empty: 13 },
  staleReads: { stale_read_every: 11 },
  staleAlways: { stale_read_every: 1 },
  staleClose: { stale_close: true },
  bigInodes: { inodes_above: 2 ** 62 },
  lostAnswers: { lost_every: 2 },
  shortReads: { short_reads: true },
  clockAhead: { clock_seconds: 7200 },
  clockBehind: { clock_seconds: -7200 },
  clockJumps: { clock_seconds: 7200, clock_jumps: true },
  slow: { slow_seconds: 0.001, cache_seconds: 1 },
} as const
export type MoodName = keyof typeof moods

const program = fileURLToPath(new URL('serve.py', import.meta.url))

/** Why no FUSE file system can be mounted here; null where one can. */
export const whyNoFuse = reason()

function reason(): string | null {
  if (process.getuid?.() !== 0) return 'mounting a FUSE file system needs root'
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return null
  } catch {
    return 'mounting a FUSE file system needs /dev/fuse'
  }
}

/** A `describe` whose tests mount file systems. Where that is impossible, one test says why. */
export function describeOnFuse(name: string, tests: () => void): void {
  if (whyNoFuse === null) describe(name, tests)
  else it(name, (context) => context.skip(whyNoFuse))
}

const endings: (() => Promise<void>)[] = []
afterAll(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

interface Machines {
  readonly disk: string
  readonly points: Promise<string>[]
}
// Mounted once for each mood: a mount costs more than most tests.
const machines = new Map<MoodName, Promise<Machines>>()

/** A new, empty folder as `count` machines see it, each with a mount of its own in this mood. */
export async function mounts(mood: MoodName, count: number): Promise<readonly string[]> {
  const found = machines.get(mood) ?? shared()
  machines.set(mood, found)
  const { disk, points } = await found
  while (points.length < count) points.push(mount(disk, `${disk}-${points.length}`, mood))
  const name = randomUUID()
  await mkdir(path.join(disk, name))
  return (await Promise.all(points.slice(0, count))).map((point) => path.join(point, name))
}

async function shared(): Promise<Machines> {
  const top = await mkdtemp(path.join(tmpdir(), 'draftbridge-fuse-'))
  endings.push(() => rm(top, { recursive: true, force: true }))
  const disk = path.join(top, 'machine')
  await mkdir(disk)
  return { disk, points: [] }
}

/** The same for one machine. */
export async function mounted(mood: MoodName): Promise<string> {
  const [point = ''] = await mounts(mood, 1)
  return point
}

interface Mounted {
  readonly mood: MoodName
  readonly disk: string
  readonly server: ChildProcess
}
const served = new Map<string, Mounted>()

function mountOf(dir: string): Mounted {
  const found = served.get(path.dirname(dir))
  if (found === undefined) throw new Error(`no mount of ours: ${dir}`)
  return found
}

/** The process that serves the mount of `dir`, a folder that `mounts` gave. */
export const serverOf = (dir: string): ChildProcess => mountOf(dir).server

/** Mounts it again after its server was killed. */
export async function mountAgain(dir: string): Promise<void> {
  const { disk, mood } = mountOf(dir)
  unmount(path.dirname(dir))
  await mount(disk, path.dirname(dir), mood)
}

/** How often the kernel asked the file system for what: each is a round trip to the server of a network file system. */
export type Requests = Readonly<Record<string, number>>
const counters = new Map<string, () => Promise<Requests>>()

/** What was asked of the mount of `dir`, a folder that `mounts` gave, since the last call. */
export async function requestsOf(dir: string): Promise<Requests> {
  const count = counters.get(path.dirname(dir))
  if (count === undefined) throw new Error(`no mount of ours: ${dir}`)
  return count()
}

// Lazily: a mount whose server was killed refuses everything else.
const unmount = (point: string): void => void spawnSync('umount', ['-l', point], { stdio: 'ignore' })

async function mount(disk: string, point: string, mood: MoodName): Promise<string> {
  await mkdir(point, { recursive: true })
  const args = [program, disk, point, JSON.stringify(moods[mood])]
  const server = spawn('python3', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(server, 'close')
  // The server unmounts when its input ends, so also when this process is killed.
  endings.push(async () => {
    server.stdin.end()
    await ended
    unmount(point)
  })
  served.set(point, { mood, disk, server })
  const lines = createInterface({ input: server.stdout })
  const said = async () => (await Promise.race([once(lines, 'line'), ended]))[0] as unknown
  if ((await said()) !== 'mounted') throw new Error(`no file system at ${point}`)
  counters.set(point, async () => {
    server.stdin.write('\n')
    return JSON.parse(String(await said())) as Requests
  })
  return point
}
