import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { nodeArguments } from '../../src/launch/node-program.ts'
import { VllmProcess, type VllmStart } from '../../src/launch/vllm-process.ts'
import { tempDir } from '../support/temp-dir.ts'
import { pythonProgram } from '../support/training.ts'

const python = pythonProgram
const script = path.resolve('test/support/vllm_stand_in.py')

let dir = ''
let scratch = ''
beforeEach(async () => {
  dir = await tempDir()
  scratch = path.join(dir, 'scratch')
})

function start(more: Partial<VllmStart> = {}): Promise<VllmProcess> {
  const order = { model: 'm', dtype: 'float32', layers: [1], maxModelLen: 8, args: {} }
  return VllmProcess.start({ python, script, scratch, log: path.join(dir, 'run', 'vllm.log'), ...order, ...more })
}

afterEach(() => vi.unstubAllEnvs())

describe('a process of vLLM', () => {
  it('answers each sample, whatever its libraries print, and knows neither the store key nor our packages', async () => {
    vi.stubEnv('DRAFTBRIDGE_STORE_KEY', 'a'.repeat(64))
    vi.stubEnv('PYTHONPATH', '/somewhere')
    await using vllm = await start()
    expect(vllm.version).toBe('0.0.0')
    const [first, second] = await Promise.all([vllm.run([1, 2]), vllm.run([3], 20)])
    expect(JSON.parse(await readFile(first.file, 'utf8'))).toEqual({ ids: [1, 2], secrets: [] })
    expect([first.logprobs, second.logprobs]).toEqual([null, [[[1, -0.5]]]])
    await expect(vllm.run([13])).rejects.toMatchObject({ code: 'FEATURE_INVALID', details: { found: 'too long' } })
    expect(await readFile(path.join(dir, 'run', 'vllm.log'), 'utf8')).toMatch(/noise of a child process/)
  })

  it('takes its files and its unanswered samples with it', async () => {
    const vllm = await start()
    await vllm.run([1])
    const unanswered = expect(vllm.run([7])).rejects.toMatchObject({ code: 'ENGINE_DIED' })
    await vllm[Symbol.asyncDispose]()
    await unanswered
    expect(await readdir(scratch)).toEqual([])
    expect(isLiving(vllm.pid ?? 0)).toBe(false)
    await expect(vllm.run([1])).rejects.toMatchObject({ code: 'ENGINE_DIED' })
  })

  it('says its last lines when it dies', async () => {
    await using vllm = await start()
    const pending = expect(vllm.run([7])).rejects.toMatchObject({ code: 'ENGINE_DIED' })
    await expect(vllm.run([666])).rejects.toThrow(/exited with status 3.*the last words.*target\.vllm\.args/s)
    await pending
  })

  it('ends with its parent, and removes the files, when the parent is killed', async () => {
    const holder = fileURLToPath(new URL('vllm-holder.ts', import.meta.url))
    const given = [python, script, scratch, path.join(dir, 'vllm.log')]
    const parent = spawn(process.execPath, [...nodeArguments(holder), ...given], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [said] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = Number(said)
    expect(isLiving(pid)).toBe(true)
    expect(await readdir(scratch)).toHaveLength(1)
    parent.kill('SIGKILL')
    for (let tries = 0; tries < 100 && isLiving(pid); tries += 1) await sleep(100)
    expect(isLiving(pid)).toBe(false)
    expect(await readdir(scratch)).toEqual([])
  })
})

describe('a process of vLLM that cannot start', () => {
  it('names the interpreter that is not there', async () => {
    const refused = await start({ python: path.join(dir, 'none') }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'PYTHON_UNAVAILABLE', details: { field: 'target.vllm.python' } })
    expect(String(refused)).toMatch(/pip install vllm/)
    expect(await readdir(scratch)).toEqual([])
  })

  it('says that the environment has no vLLM', async () => {
    // The script of the package in an environment of ours, which has no vLLM.
    const real = path.resolve('python/vllm_child/extract_states.py')
    const refused = start({ script: real })
    await expect(refused).rejects.toMatchObject({ code: 'PYTHON_UNAVAILABLE', details: { file: python } })
    await expect(refused).rejects.toThrow(/vLLM cannot be imported.*No module named 'vllm'/s)
  })

  it('says why vLLM refused', async () => {
    const refused = start({ args: { fail: true } })
    await expect(refused).rejects.toMatchObject({ code: 'ENGINE_DIED', details: { field: 'target.vllm' } })
    await expect(refused).rejects.toThrow(/ValueError: no such engine argument: fail/)
  })

  it('tells another program from the child', async () => {
    await expect(start({ python: '/bin/echo' })).rejects.toThrow(/sent a line that is none of its protocol/)
    await expect(start({ python: '/bin/true' })).rejects.toThrow(/exited with status 0/)
  })
})

function isLiving(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
