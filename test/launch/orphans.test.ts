import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { nodeArguments } from '../../src/launch/node-program.ts'
import { tempDir } from '../support/temp-dir.ts'

const ranks = path.join(path.dirname(fileURLToPath(import.meta.url)), 'ranks')
/** In the environment of the supervisor and of whatever it starts. */
const MARK = `orphans-${randomUUID()}`
/** Long for a rank that has to load its program first; one that does not end itself lives much longer. */
const SECONDS = 20

/** The processes of this test that are there, also one between fork and exec. */
function marked(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && textOf(`/proc/${name}/environ`).includes(MARK))
    .map(Number)
}

// A process may end before it is read.
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

afterEach(() => {
  for (const pid of marked()) process.kill(pid, 'SIGKILL')
})

async function supervising(...acts: string[]): Promise<{ supervisor: ChildProcess; pids: string }> {
  const [pids, start] = [path.join(await tempDir(), 'pids'), nodeArguments(path.join(ranks, 'supervising.ts'))]
  const env = { ...process.env, DRAFTBRIDGE_TEST_MARK: MARK }
  const supervisor = spawn(process.execPath, [...start, path.join(ranks, 'rank.ts'), pids, ...acts], {
    env,
    stdio: 'ignore',
  })
  return { supervisor, pids }
}

/** Does not sleep: a moment between two looks would be too long. */
function untilFirstRank({ pid }: ChildProcess): void {
  while (textOf(`/proc/${pid}/task/${pid}/children`) === '') {}
}

async function untilNoneIsLeft(): Promise<void> {
  const end = performance.now() + SECONDS * 1000
  while (marked().length > 0 && performance.now() < end) await sleep(50)
  expect(marked()).toEqual([])
}

it.each([0, 0, 0, 30, 100, 200, 300, 500, 800])(
  'no rank is left of a supervisor that is killed %i ms after its first rank appears',
  async (ms) => {
    const { supervisor } = await supervising('hang', 'deaf')
    untilFirstRank(supervisor)
    if (ms > 0) await sleep(ms)
    supervisor.kill('SIGKILL')
    await untilNoneIsLeft()
  },
)

it('a rank whose main thread is busy ends with its supervisor', async () => {
  const { supervisor, pids } = await supervising('freeze')
  while (textOf(pids) === '') await sleep(50)
  // It says that it has started, and blocks a moment later.
  await sleep(1500)
  supervisor.kill('SIGKILL')
  await untilNoneIsLeft()
})
