import { open } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { finding } from '../../../src/core/errors.ts'
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

describe('of several failures', () => {
  const [full, gone, bug] = [refusal('ENOSPC', { path: '/first' }), refusal('EIO'), new TypeError('a bug')]
  // As a compiler makes it where the language has none.
  const suppressed = (first: unknown, later: unknown) =>
    Object.assign(new Error('x'), { name: 'SuppressedError', suppressed: first, error: later })

  it.each([
    ['that of a clean-up comes second', suppressed(full, gone)],
    ['those of clean-ups inside clean-ups come after it', suppressed(suppressed(full, gone), bug)],
    ['that of a task beside it comes second', new AggregateError([full, gone])],
    ['the first of the first counts', new AggregateError([suppressed(full, bug), gone])],
  ])('%s', (_, thrown) => {
    const found = storageError(thrown, '/near')
    expect(found).toMatchObject({ code: 'STORE_FULL', details: { file: '/first' }, cause: thrown })
    expect(found).toMatchObject({ message: expect.stringMatching(/\n {2}then: {2}(EIO|a bug)/) })
  })

  it('a coded one that came first keeps its code and its details', () => {
    const first = finding('SAMPLE_CORRUPT', 'damaged', { field: 'x' })
    const found = storageError(suppressed(first, gone), '/near')
    expect(found).toMatchObject({ code: 'SAMPLE_CORRUPT', exitCode: 65, details: { field: 'x' } })
  })

  it('a bug that came first is a bug', () => {
    expect(storageError(suppressed(bug, gone), '/near')).toBe(bug)
  })

  it('what `await using` makes of two of them is one of these', async () => {
    const both = async () => {
      await using _ = { [Symbol.asyncDispose]: () => Promise.reject(gone) }
      throw full
    }
    await expect(both().catch((error: unknown) => storageError(error, '/near'))).resolves.toMatchObject({
      exitCode: 75,
    })
  })
})

describe('a mount that is gone', () => {
  it.each(['EIO', 'ENOTCONN', 'ESTALE', 'ESHUTDOWN', 'ETIMEDOUT', 'EHOSTDOWN'])(
    'is told as that (%s), whatever was made of it',
    (code) => {
      const told = finding('FEATURE_INVALID', 'damaged', { file: '/f' }, { cause: refusal(code) })
      expect(storageError(told, '/near')).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        exitCode: 69,
        details: { file: '/f' },
      })
    },
  )

  it('is no word for what is wrong with one file', () => {
    const told = finding('FEATURE_INVALID', 'damaged', { file: '/f' }, { cause: refusal('ENOENT') })
    expect(storageError(told, '/near')).toBe(told)
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
