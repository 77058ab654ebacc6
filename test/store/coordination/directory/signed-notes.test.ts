import { lstatSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { DirectoryCoordination } from '../../../../src/store/coordination/directory/directory-coordination.ts'
import { localCalls } from '../../../../src/store/directory/name-calls.ts'
import { filesIn } from '../../../support/filled-store.ts'
import { tempDir } from '../../../support/temp-dir.ts'

let root: string
beforeEach(async () => {
  root = await tempDir()
  for (const name of ['notes', 'staging', 'reserve']) await mkdir(path.join(root, name))
})

/** A member on a file system that takes `allowed` names for a file, and says then that it is full, as GlusterFS does. */
async function member(allowed: () => number, code = 'ENOSPC'): Promise<DirectoryCoordination> {
  const link = async (file: string, name: string) => {
    if (lstatSync(file).nlink > allowed()) throw Object.assign(new Error(code), { code, syscall: 'link' })
    return localCalls.link(file, name)
  }
  const folders = { notes: path.join(root, 'notes'), staging: path.join(root, 'staging') }
  const calls = { ...localCalls, link }
  const coordination = new DirectoryCoordination({ ...folders, reserve: path.join(root, 'reserve'), calls })
  await coordination.enter()
  return coordination
}

describe('notes that a member signs', () => {
  it.each(['ENOSPC', 'EMLINK'])(
    'are names of further files where a file may have no more (%s), one after the other and at once',
    async (code) => {
      const one = await member(() => 12, code)
      for (let index = 0; index < 40; index += 1) expect(await one.sign(`claims/a${index}`)).toBe(true)
      const all = await Promise.all(Array.from({ length: 40 }, (_, index) => one.sign(`claims/b${index}`)))
      expect(new Set(all)).toEqual(new Set([true]))
      // Only the file that is in use has a name in the member's folder.
      expect((await filesIn(root, 'staging')).length).toBeLessThanOrEqual(1)
    },
  )

  it('take no further file where the disk is full', async () => {
    let isFull = false
    const one = await member(() => (isFull ? 0 : 1000))
    await one.sign('claims/first')
    isFull = true
    const tried = await Promise.allSettled(['a', 'b', 'c'].map((name) => one.sign(`claims/${name}`)))
    for (const { status } of tried) expect(status).toBe('rejected')
    expect(await filesIn(root, 'staging')).toHaveLength(1)
    isFull = false
    expect(await one.sign('claims/a')).toBe(true)
  })
})
