import { open } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { makeFolder } from '../../../src/core/files/make-folder.ts'
import { storageError } from '../../../src/core/files/storage-error.ts'
import { tempDir } from '../../support/temp-dir.ts'

const refusal = (code: string, more = {}) => Object.assign(new Error(code), { code, syscall: 'write', ...more })

describe('what a file system refuses', () => {
  it.each(['ENOSPC', 'EDQUOT'])('for want of room (%s) is STORE_FULL, with how to make some', (code) => {
    expect(storageError(refusal(code), '/near', 'the manifest', 'make room')).toMatchObject({
      code: 'STORE_FULL',
      exitCode: 75,
      details: { file: '/near', found: `${code} from write`, fix: 'make room' },
    })
  })

  it('for want of file handles says how to get more', () => {
    const details = { fix: expect.stringContaining('ulimit -n') }
    expect(storageError(refusal('EMFILE'), '/near')).toMatchObject({ code: 'STORE_UNAVAILABLE', details })
  })

  it('names the file that the system names', () => {
    const details = { file: '/there/it', fix: expect.stringContaining('mounted') }
    expect(storageError(refusal('EIO', { path: '/there/it' }), '/near')).toMatchObject({ exitCode: 69, details })
  })

  it('is as it came where it is no refusal but a bug', () => {
    const bug = new TypeError('not a function')
    expect(storageError(bug, '/near')).toBe(bug)
    expect(storageError('text', '/near')).toBe('text')
  })
})

describe('a folder', () => {
  it('is made with all above it, and made again without harm', async () => {
    const dir = path.join(await tempDir(), 'a', 'b', 'ü')
    for (let round = 0; round < 2; round += 1) await makeFolder(dir, 'run.dir')
    await (await open(path.join(dir, 'file'), 'wx')).close()
  })

  it.each(['file', 'file/below'])('is refused where a file is: %s', async (name) => {
    const dir = await tempDir()
    await (await open(path.join(dir, 'file'), 'wx')).close()
    const details = { field: 'run.dir', file: path.join(dir, name) }
    await expect(makeFolder(path.join(dir, name), 'run.dir')).rejects.toMatchObject({ code: 'CONFIG_INVALID', details })
  })

  it('that the system refuses without end is refused, and not tried for ever', async () => {
    await expect(makeFolder('/proc/nowhere/below', 'run.dir')).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})
