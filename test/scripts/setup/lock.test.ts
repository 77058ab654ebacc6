import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { holdLock } from '../../../scripts/setup/lock.mjs'
import { endOrphans, noteProgram } from '../../../scripts/setup/orphans.mjs'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'draftbridge-lock-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const MODULE = path.resolve('scripts/setup/lock.mjs')

it('two set-ups never hold the lock at once, and the second gets it when the first lets go', async () => {
  const file = path.join(folder, 'lock')
  const first = await holdLock(file, { pollMs: 5, onWait: () => undefined })
  const waited: number[] = []
  // Another process, because the lock belongs to processes.
  const program = `import { holdLock } from ${JSON.stringify(MODULE)}
    await holdLock(${JSON.stringify(file)}, { pollMs: 5, onWait: () => process.exit(75) })`
  const other = spawnSync(process.execPath, ['--input-type=module', '-e', program])
  expect(other.status).toBe(75)
  first.release()
  const second = await holdLock(file, { pollMs: 5, onWait: (pid: number) => waited.push(pid) })
  expect(waited).toEqual([])
  second.release()
  expect(existsSync(file)).toBe(false)
})

it('the lock of a process that died is taken over, even when its process id is in use again', async () => {
  const file = path.join(folder, 'lock')
  const dead = spawnSync(process.execPath, ['-e', '']).pid
  for (const owner of [`${dead} 1`, `${process.pid} 1`]) {
    writeFileSync(file, owner)
    const waited: number[] = []
    const held = await holdLock(file, { pollMs: 5, onWait: (pid: number) => waited.push(pid) })
    expect(waited).toEqual([])
    held.release()
  }
})

it('what a killed set-up left running is ended, and a process that only has its old id is not', async () => {
  const orphan = spawn('sleep', ['60'])
  const exit = once(orphan, 'exit')
  noteProgram(folder, orphan.pid)
  writeFileSync(path.join(folder, `${process.pid}-1`), '')
  const ended: number[] = []
  await endOrphans(folder, (pid: number) => ended.push(pid))
  expect((await exit)[1]).toBe('SIGKILL')
  expect(ended).toEqual([orphan.pid])
  expect(readdirSync(folder)).toEqual([])
})
