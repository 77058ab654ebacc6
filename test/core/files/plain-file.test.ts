import { execFileSync } from 'node:child_process'
import { constants } from 'node:fs'
import { open, readFile, symlink, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { replaceFile, syncFolder } from '../../../src/core/files/atomic-file.ts'
import {
  MAX_TEXT_BYTES,
  openInput,
  openPlain,
  openPlainSync,
  readInputText,
  readPlain,
  readPlainSync,
} from '../../../src/core/files/plain-file.ts'
import { plantings } from '../../support/planted.ts'
import { tempDir } from '../../support/temp-dir.ts'

const refuse = (found: string) => new Error(`refused: ${found}`)
const SIZE = 10 * 1024 ** 3

describe('a file that somebody planted', () => {
  it.each(Object.entries(plantings))('%s is refused in every way to open one', async (_, { plant, found }) => {
    const file = path.join(await tempDir(), 'file')
    await using _planted = await plant(file)
    const ways = [
      () => openPlain(file, refuse),
      () => openPlain(file, refuse, constants.O_WRONLY),
      () => readPlain(file, { refuse }),
      async () => openPlainSync(file, refuse),
      async () => readPlainSync(file, { refuse }),
    ]
    for (const way of ways) await expect(way()).rejects.toThrow(found)
  })

  it('has an error that names it, what it is and what to do', async () => {
    const file = path.join(await tempDir(), 'file')
    execFileSync('mkfifo', [file])
    const details = { file, found: 'a pipe', fix: expect.stringContaining('remove it') }
    await expect(readPlain(file)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', details })
  })

  it('of 10 GB is refused without being read, and one of the largest size is not', async () => {
    const file = path.join(await tempDir(), 'file')
    await writeFile(file, '')
    await truncate(file, SIZE)
    const found = `refused: ${SIZE} bytes, of which at most ${MAX_TEXT_BYTES}`
    await expect(readPlain(file, { refuse })).rejects.toThrow(found)
    await expect(readInputText(file, { refuse })).rejects.toThrow(found)
    expect(() => readPlainSync(file, { refuse })).toThrow(found)
    await truncate(file, 3)
    expect(await readPlain(file, { maxBytes: 3 })).toHaveLength(3)
    await expect(readPlain(file, { refuse, maxBytes: 2 })).rejects.toThrow('refused: 3 bytes')
  })

  it('is not written through', async () => {
    const dir = await tempDir()
    const [mine, planted] = [path.join(dir, 'mine'), path.join(dir, 'planted')]
    await writeFile(mine, 'mine')
    await symlink(mine, planted)
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND
    expect(() => openPlainSync(planted, refuse, flags)).toThrow('a symbolic link')
    await replaceFile(planted, 'new')
    expect([await readFile(mine, 'utf8'), await readFile(planted, 'utf8')]).toEqual(['mine', 'new'])
  })

  it('is no folder to sync', async () => {
    const file = path.join(await tempDir(), 'file')
    execFileSync('mkfifo', [file])
    await expect(syncFolder(file)).rejects.toMatchObject({ code: 'ENOTDIR' })
  })
})

describe('a file that the user named', () => {
  it('may be a link or what the shell gives, and is no pipe with a name', async () => {
    const dir = await tempDir()
    const [file, pipe, other] = ['file', 'pipe', 'link'].map((name) => path.join(dir, name)) as [string, string, string]
    await writeFile(file, 'text')
    await symlink(file, other)
    execFileSync('mkfifo', [pipe])
    expect(await readInputText(other)).toBe('text')
    await expect(openInput(pipe, refuse)).rejects.toThrow('refused: a pipe')
    const handle = await open(file, 'r')
    expect(await readInputText(`/proc/self/fd/${handle.fd}`)).toBe('text')
    await handle.close()
  })
})
