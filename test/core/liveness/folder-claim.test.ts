import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { claimFolder } from '../../../src/core/liveness/folder-claim.ts'
import { thisProcess } from '../../../src/core/liveness/process-identity.ts'
import { tempDir } from '../../support/temp-dir.ts'

describe('a claim on a folder', () => {
  it('is given to one at a time, and names its holder to the other', async () => {
    const dir = await tempDir()
    await using _claim = await claimFolder(dir, 'train')
    const found = expect.stringContaining(`process ${process.pid}`)
    await expect(claimFolder(dir, 'train')).rejects.toMatchObject({ code: 'STORE_BUSY', details: { found } })
  })

  it('of another kind of work stands beside it', async () => {
    const dir = await tempDir()
    await using _train = await claimFolder(dir, 'train')
    await using _produce = await claimFolder(dir, 'produce')
  })

  it('leaves nothing behind when it is given back', async () => {
    const dir = await tempDir()
    await (await claimFolder(dir, 'train'))[Symbol.asyncDispose]()
    expect(await readdir(dir)).toEqual([])
    await using _again = await claimFolder(dir, 'train')
  })

  it('of a process that was killed is taken over, by one of many', async () => {
    const dir = await tempDir()
    const url = new URL('../../../src/core/liveness/folder-claim.ts', import.meta.url).href
    const code = `const { claimFolder } = await import('${url}'); await claimFolder(${JSON.stringify(dir)}, 'train'); console.log('held'); setInterval(() => {}, 1e6)`
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code])
    await once(child.stdout, 'data')
    await expect(claimFolder(dir, 'train')).rejects.toMatchObject({ code: 'STORE_BUSY' })
    child.kill('SIGKILL')
    await once(child, 'exit')
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => claimFolder(dir, 'train')))
    const won = results.filter((result) => result.status === 'fulfilled')
    expect(won).toHaveLength(1)
    for (const { value } of won) await value[Symbol.asyncDispose]()
    expect(await readdir(dir)).toEqual([])
  })

  it('on another machine counts as long as its file is touched', async () => {
    const dir = await tempDir()
    const holder = path.join(dir, '.train.holder.x')
    await mkdir(path.join(dir, '.train.claim'))
    await writeFile(path.join(dir, '.train.claim', 'x'), '')
    await writeFile(holder, JSON.stringify({ host: 'elsewhere', pid: 1, started: '1' }))
    await expect(claimFolder(dir, 'train')).rejects.toMatchObject({ code: 'STORE_BUSY' })
    const before = new Date(Date.now() - 120_000)
    await utimes(holder, before, before)
    await using _claim = await claimFolder(dir, 'train')
    expect((await readdir(dir)).filter((name) => name.includes('holder'))).toHaveLength(1)
  })

  it('fences the store member of a holder that died, before its place is taken', async () => {
    const dir = await tempDir()
    const lost = { host: hostname(), pid: 1, started: 'never', memberId: 'm0123456789abcdef', ...(await containerOf()) }
    await mkdir(path.join(dir, '.produce.claim'))
    await writeFile(path.join(dir, '.produce.claim', 'x'), '')
    await writeFile(path.join(dir, '.produce.holder.x'), JSON.stringify(lost))
    const there: string[][] = []
    const fence = async (memberId: string) => {
      there.push([memberId, ...(await readdir(path.join(dir, '.produce.claim')))])
    }
    await using _claim = await claimFolder(dir, 'produce', { fence })
    expect(there).toEqual([[lost.memberId, 'x']])
  })

  it('leaves a successor alone when a holder that was taken for dead gives its claim back', async () => {
    const dir = await tempDir()
    const first = await claimFolder(dir, 'train')
    const [holder = ''] = (await readdir(dir)).filter((name) => name.startsWith('.train.holder.'))
    await writeFile(path.join(dir, holder), JSON.stringify({ host: 'elsewhere', pid: 1, started: '1' }))
    const before = new Date(Date.now() - 120_000)
    await utimes(path.join(dir, holder), before, before)
    await using _second = await claimFolder(dir, 'train')
    await first[Symbol.asyncDispose]()
    await expect(claimFolder(dir, 'train')).rejects.toMatchObject({ code: 'STORE_BUSY' })
  })
})

async function containerOf() {
  const { bootId, pidNs } = await thisProcess()
  return { bootId, pidNs }
}
