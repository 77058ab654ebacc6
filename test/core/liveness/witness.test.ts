import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, statfsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { removeWitness, Witness, witnessState } from '../../../src/core/liveness/witness.ts'
import { tempDir } from '../../support/temp-dir.ts'

const TMPFS = 0x01021994
const hasMemoryFiles = process.platform === 'linux' && statfsSync('/dev/shm').type >>> 0 === TMPFS

/** A process that opens a witness and says its token. */
async function holder(ending: string) {
  const url = new URL('../../../src/core/liveness/witness.ts', import.meta.url).href
  const code = `const { Witness } = await import('${url}'); const w = await Witness.open(); console.log(w.token); setInterval(() => {}, 1e6); ${ending}`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code])
  const exit = once(child, 'exit')
  const [token] = await once(child.stdout, 'data')
  return { child, exit, token: String(token).trim() }
}

describe.runIf(hasMemoryFiles)('a witness', () => {
  it('is open while its process lives, also for one that is stopped', async () => {
    const { child, exit, token } = await holder('')
    expect(await witnessState(token)).toBe('open')
    child.kill('SIGSTOP')
    expect(await witnessState(token)).toBe('open')
    child.kill('SIGKILL')
    await exit
    removeWitness(token)
  })

  it.each([
    ['is killed', '', 'SIGKILL' as const],
    ['exits without giving anything back', 'process.stdin.once("end", () => process.exit(3)).resume()', null],
  ])('is closed, and still seen, once its process %s', async (_, ending, signal) => {
    const { child, exit, token } = await holder(ending)
    if (signal !== null) child.kill(signal)
    else child.stdin.end()
    await exit
    expect(await witnessState(token)).toBe('closed')
    removeWitness(token)
    expect(await witnessState(token)).toBe('unseen')
  })

  it('leaves nothing behind when it is given back', async () => {
    const mine = () => readdirSync('/dev/shm').filter((name) => name.startsWith('draftbridge-'))
    const witness = await Witness.open()
    expect(mine().some((name) => name.includes(witness?.token ?? 'none'))).toBe(true)
    await witness?.[Symbol.asyncDispose]()
    expect(mine().some((name) => name.includes(witness?.token ?? 'none'))).toBe(false)
  })
})

it('cannot be had in a folder that other machines may see', async () => {
  const dir = await tempDir()
  if (statfsSync(dir).type >>> 0 === TMPFS) expect(await Witness.open(dir)).not.toBeNull()
  else expect(await Witness.open(dir)).toBeNull()
  await writeFile(path.join(dir, `draftbridge-${'0'.repeat(32)}`), '')
  expect(await witnessState('0'.repeat(32), dir)).toBe('unseen')
  expect(await witnessState('0'.repeat(32), path.join(dir, 'none'))).toBe('unseen')
  expect(existsSync(path.join(dir, 'none'))).toBe(false)
})
