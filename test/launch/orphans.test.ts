import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { nodeArguments } from '../../src/launch/node-program.ts'
import { tempDir } from '../support/temp-dir.ts'

const ranks = path.join(path.dirname(fileURLToPath(import.meta.url)), 'ranks')
/** Long for a rank that has to load its program first; one that does not end itself lives much longer. */
const SECONDS = 20

/**
 * The processes of the supervisor's group that live. A rank is in the group from its fork on; its environment could not
 * be read while it is in exec, and it would seem to be gone for a moment.
 */
function living(group: number): readonly number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && isLivingIn(group, pid))
}

function isLivingIn(group: number, pid: number): boolean {
  const [state, , itsGroup] = textOf(`/proc/${pid}/stat`)
    .replace(/^.*\) /, '')
    .split(' ')
  return Number(itsGroup) === group && state !== 'Z'
}

// A process may end before it is read.
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

const groups: number[] = []
afterEach(() => {
  for (const pid of groups.splice(0).flatMap(living)) process.kill(pid, 'SIGKILL')
})

async function supervising(...acts: string[]): Promise<{ supervisor: ChildProcess; pids: string }> {
  const [pids, start] = [path.join(await tempDir(), 'pids'), nodeArguments(path.join(ranks, 'supervising.ts'))]
  const supervisor = spawn(process.execPath, [...start, path.join(ranks, 'rank.ts'), pids, ...acts], {
    detached: true,
    stdio: 'ignore',
  })
  groups.push(groupOf(supervisor))
  return { supervisor, pids }
}

// `detached` makes a process the first of a group, which has its number.
function groupOf({ pid }: ChildProcess): number {
  if (pid === undefined) throw new Error('the supervisor did not start')
  return pid
}

/** Does not sleep: a moment between two looks would be too long. */
function untilFirstRank({ pid }: ChildProcess): void {
  while (textOf(`/proc/${pid}/task/${pid}/children`) === '') {}
}

async function untilNoneIsLeft(supervisor: ChildProcess): Promise<void> {
  const [group, end] = [groupOf(supervisor), performance.now() + SECONDS * 1000]
  while (living(group).length > 0 && performance.now() < end) await sleep(50)
  expect(living(group)).toEqual([])
}

it.each([0, 0, 0, 30, 100, 200, 300, 500, 800])(
  'no rank is left of a supervisor that is killed %i ms after its first rank appears',
  async (ms) => {
    const { supervisor } = await supervising('hang', 'deaf')
    untilFirstRank(supervisor)
    if (ms > 0) await sleep(ms)
    supervisor.kill('SIGKILL')
    await untilNoneIsLeft(supervisor)
  },
)

it('a rank whose main thread is busy ends with its supervisor', async () => {
  const { supervisor, pids } = await supervising('freeze')
  while (textOf(pids) === '') await sleep(50)
  // It says that it has started, and blocks a moment later.
  await sleep(1500)
  supervisor.kill('SIGKILL')
  await untilNoneIsLeft(supervisor)
})
