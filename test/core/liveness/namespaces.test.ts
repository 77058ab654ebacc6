import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { claimFolder, type FolderClaim } from '../../../src/core/liveness/folder-claim.ts'
import { monotonic } from '../../../src/core/liveness/monotonic.ts'
import { SILENT_MS, Watch } from '../../../src/core/liveness/watch.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { shortened } from './shortened-time.ts'

/** Namespaces of its own for pids, the host name, mounts and clocks, as another container or another machine has. */
const CONTAINER = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', '--uts', '--time']
const CLOCK = ['--boottime', '100000', '--monotonic', '100000']
const program = fileURLToPath(new URL('claim-child.ts', import.meta.url))

const tried = spawnSync('unshare', [...CONTAINER.slice(1), ...CLOCK, 'true'], { encoding: 'utf8' })
const canTry = tried.status === 0
if (!canTry)
  process.stderr.write(`NOT TESTED: no namespaces can be made here: ${tried.error?.message ?? tried.stderr}\n`)

interface Answer {
  readonly pid: number
  readonly host: string
  readonly waits: number
  readonly ms: number
  readonly epoch?: number
  readonly code?: string
  readonly held?: boolean
}

const children: ChildProcess[] = []
const claims: FolderClaim[] = []
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const claim of claims.splice(0)) await claim[Symbol.asyncDispose]()
})

/** A process that is pid 1 of a container named `twin`, with a /dev/shm of its own, and wants the claim on `dir`. */
function inContainer(dir: string, clock: readonly string[] = []) {
  const start = 'mount -t tmpfs none /dev/shm && hostname twin && exec "$0" --import tsx "$@"'
  const [command = '', ...args] = [...CONTAINER, ...clock, 'sh', '-c', start, process.execPath, program, dir]
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const answer = async (): Promise<Answer> => JSON.parse((await lines.next()).value ?? '{}') as Answer
  const isHeld = async (): Promise<Answer> => {
    child.stdin.write('?\n')
    return answer()
  }
  const kill = async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  return { answer, isHeld, kill }
}

async function claimHere(dir: string) {
  const time = shortened(monotonic)
  const claim = await claimFolder(dir, 'train', { time, watch: new Watch({ time }), wait: {} })
  claims.push(claim)
  return claim
}

describe.runIf(canTry)('holders in containers with the same host name, pid and boot id', () => {
  it.each([
    ['with the same clock', []],
    ['whose clock says another time', CLOCK],
  ])(
    '%s do not take each other for dead, nor for themselves',
    async (_, clock) => {
      const dir = await tempDir()
      const holder = inContainer(dir)
      expect(await holder.answer()).toMatchObject({ pid: 1, host: 'twin', epoch: 1 })
      const other = await inContainer(dir, clock).answer()
      expect(other).toMatchObject({ pid: 1, host: 'twin', code: 'STORE_BUSY' })
      // It could not see the holder, so it watched it beat.
      expect(other.waits).toBeGreaterThan(0)
      expect(other.ms).toBeLessThan(SILENT_MS)
      expect(await holder.isHeld()).toMatchObject({ held: true })
    },
    60_000,
  )

  it.each([
    ['with the same clock', []],
    ['whose clock says another time', CLOCK],
  ])(
    '%s notice a dead one by its heartbeat, in its time',
    async (_, clock) => {
      const dir = await tempDir()
      const holder = inContainer(dir)
      expect((await holder.answer()).epoch).toBe(1)
      await holder.kill()
      const other = inContainer(dir, clock)
      const { epoch, ms } = await other.answer()
      expect(epoch).toBe(2)
      expect(ms).toBeGreaterThanOrEqual(SILENT_MS)
      expect(await other.isHeld()).toMatchObject({ held: true })
    },
    60_000,
  )
})

describe.runIf(canTry)('a process outside and one in a container', () => {
  it('do not rob each other while both live', async () => {
    const [inside, outside] = [await tempDir(), await tempDir()]
    const holder = inContainer(inside, CLOCK)
    expect((await holder.answer()).epoch).toBe(1)
    const mine = await claimHere(outside)
    await expect(claimHere(inside)).rejects.toMatchObject({ code: 'STORE_BUSY' })
    expect(await inContainer(outside, CLOCK).answer()).toMatchObject({ code: 'STORE_BUSY' })
    expect(await holder.isHeld()).toMatchObject({ held: true })
    await mine.assertHeld()
  }, 60_000)

  it('find each other dead in due time', async () => {
    const dir = await tempDir()
    const holder = inContainer(dir)
    await holder.answer()
    await holder.kill()
    const started = performance.now()
    expect((await claimHere(dir)).epoch).toBe(2)
    expect(performance.now() - started).toBeGreaterThanOrEqual(SILENT_MS / 10)
  }, 60_000)
})
