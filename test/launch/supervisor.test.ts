import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { CodedError } from '../../src/core/errors.ts'
import { nodeArguments } from '../../src/launch/node-program.ts'
import { supervise } from '../../src/launch/supervisor.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
const program = path.join(here, 'ranks', 'rank.ts')

let folder: string
let pids: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-supervisor-'))
  pids = path.join(folder, 'pids')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const run = (acts: readonly string[], more: Partial<Parameters<typeof supervise>[0]> = {}) =>
  supervise({
    program,
    ranks: acts.map((act, rank) => ({ rank, spec: { act, value: rank * 10, pids, ranks: acts.length } })),
    graceSeconds: 0.5,
    signal: new AbortController().signal,
    logDir: path.join(folder, 'logs'),
    ...more,
  })

/** Longer than a rank takes to start on a machine that is busy with other tests: it is silent until then. */
const SILENCE = 12

async function started(count: number): Promise<readonly number[]> {
  for (;;) {
    const text = await readFile(pids, 'utf8').catch(() => '')
    const found = text.split('\n').filter(Boolean).map(Number)
    if (found.length === count) return found
    await sleep(20)
  }
}

function alive(processes: readonly number[]): readonly number[] {
  return processes.filter((pid) => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  })
}

async function failureOf(running: Promise<unknown>, ranks: number): Promise<{ error: unknown; seconds: number }> {
  const begun = started(ranks).then(() => performance.now())
  const error = await running.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  const seconds = (performance.now() - (await begun)) / 1000
  expect(alive(await started(ranks))).toEqual([])
  return { error, seconds }
}

describe('a failed write', () => {
  it('of an event ends the run with its cause, and ends all ranks', async () => {
    const onEvent = () => {
      throw Object.assign(new Error('no space'), { code: 'ENOSPC', errno: -28, syscall: 'write' })
    }
    const { error } = await failureOf(run(['return', 'wait'], { onEvent }), 2)
    expect(error).toMatchObject({ code: 'STORE_FULL', exitCode: 75 })
  })

  it('of a log does not end the run', async () => {
    await mkdir(path.join(folder, 'logs', 'rank-0.log'), { recursive: true })
    expect(await run(['return', 'return'])).toEqual([0, 10])
  })

  it('is reported before a rank starts when the log folder is a file', async () => {
    await writeFile(path.join(folder, 'logs'), '')
    await expect(run(['return'])).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

describe('ranks that end well', () => {
  it('return their results in the order of the ranks, and emit their events', async () => {
    const events: unknown[] = []
    const onEvent = (rank: number, body: unknown) => events.push([rank, body])
    expect(await run(['return', 'return'], { onEvent })).toEqual([0, 10])
    expect(events).toHaveLength(2)
    expect(events).toContainEqual([1, { act: 'return' }])
  })

  it('are asked to stop at their next safe point when the signal aborts', async () => {
    const stop = new AbortController()
    const running = run(['wait', 'wait'], { signal: stop.signal })
    await started(2)
    stop.abort()
    expect(await running).toEqual(['stopped', 'stopped'])
  })
})

it('ranks whose work counts no more are ended, also one that is stuck', async () => {
  const lost = new AbortController()
  const running = run(['wait', 'freeze'], { lost: lost.signal })
  await started(2)
  lost.abort('fenced')
  const { error } = await failureOf(running, 2)
  expect(error).toMatchObject({ code: 'INTERRUPTED' })
})

it('the error of another node is that of this one; ranks that do not stop are given a second, whatever the grace', async () => {
  const lost = new AbortController()
  const running = run(['wait', 'freeze'], { lost: lost.signal, graceSeconds: 60 })
  await started(2)
  const peer = new CodedError('PEER_FAILED', 'training node 1 has failed', {})
  const begun = performance.now()
  lost.abort(peer)
  expect((await failureOf(running, 2)).error).toBe(peer)
  expect((performance.now() - begun) / 1000).toBeLessThan(30)
})

it('a failure is told before the ranks have ended', async () => {
  const told: { code: string; alive: number }[] = []
  const onCause = ({ code }: CodedError) => {
    told.push({ code, alive: alive(known).length })
  }
  const known: number[] = []
  const running = run(['hang', 'freeze'], { graceSeconds: 2, onCause })
  known.push(...(await started(2)))
  for (const pid of known) {
    if ((await readFile(`/proc/${pid}/environ`, 'utf8')).includes('hang')) process.kill(pid, 'SIGKILL')
  }
  await expect(running).rejects.toMatchObject({ code: 'RANK_DIED' })
  expect(told).toEqual([{ code: 'RANK_DIED', alive: 1 }])
})

describe('the first failure ends all', () => {
  it('and a rank killed from outside is RANK_DIED with its signal, phase and last lines', async () => {
    let hangs: () => void = () => undefined
    // It says so on the link on which its phase came before.
    const hanging = new Promise<void>((resolve) => {
      hangs = resolve
    })
    const running = run(['wait', 'hang'], { onEvent: (rank) => (rank === 1 ? hangs() : undefined) })
    const kill = hanging.then(async () => {
      const log = path.join(folder, 'logs', 'rank-1.log')
      while ((await readFile(log, 'utf8').catch(() => '')) === '') await sleep(20)
      const children = await started(2)
      for (const pid of children)
        if ((await readFile(`/proc/${pid}/environ`, 'utf8')).includes('hang')) process.kill(pid, 'SIGKILL')
    })
    const { error, seconds } = await failureOf(running, 2)
    await kill
    expect(error).toMatchObject({
      code: 'RANK_DIED',
      details: { rank: 1, signal: 'SIGKILL', phase: 'about to hang' },
      message: expect.stringContaining('the last line'),
    })
    expect(seconds).toBeLessThan(20)
  })

  it('even ranks that ignore SIGTERM or are stuck in native code', async () => {
    const { error, seconds } = await failureOf(run(['exit', 'deaf', 'freeze']), 3)
    expect(error).toMatchObject({ code: 'RANK_DIED', details: { rank: 0, exitCode: 3 } })
    expect(seconds).toBeLessThan(20)
  })

  it('with the code that the rank itself threw, and the rank named', async () => {
    const { error } = await failureOf(run(['wait', 'throw']), 2)
    expect(error).toMatchObject({ code: 'FEATURE_INVALID', details: { field: 'hidden_state' } })
    expect(String(error)).toMatch(/sample s-7 holds NaN\n {2}rank: {2}1/)
  })

  it('and a bug, which has no code, is RANK_DIED with its stack', async () => {
    const { error } = await failureOf(run(['bug', 'wait']), 2)
    expect(error).toMatchObject({ code: 'RANK_DIED', message: expect.stringContaining('not a function\n') })
  })

  it('and a rank whose event loop is blocked is RANK_HUNG with its phase', async () => {
    const { error } = await failureOf(run(['wait', 'freeze'], { silenceSeconds: SILENCE }), 2)
    expect(error).toMatchObject({ code: 'RANK_HUNG', details: { rank: 1, phase: 'about to freeze' } })
  })
})

it('a wall clock that steps by ten minutes makes no rank RANK_HUNG', async () => {
  const stop = new AbortController()
  const running = run(['wait', 'wait'], { signal: stop.signal, silenceSeconds: 60 })
  running.catch(() => undefined)
  try {
    await started(2)
    // For longer than the supervisor waits between two looks.
    for (let step = 1; step <= 30; step += 1) {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 600_000 })
      await sleep(100)
    }
  } finally {
    vi.useRealTimers()
    stop.abort()
  }
  expect(await running).toEqual(['stopped', 'stopped'])
})

it('ranks end themselves when their supervisor is killed with SIGKILL', async () => {
  const supervisor = spawn(process.execPath, [
    ...nodeArguments(path.join(here, 'ranks', 'supervising.ts')),
    program,
    pids,
    'wait',
    'deaf',
  ])
  const ranks = await started(2)
  supervisor.kill('SIGKILL')
  const end = performance.now() + 60_000
  while (alive(ranks).length > 0 && performance.now() < end) await sleep(50)
  expect(alive(ranks)).toEqual([])
})
