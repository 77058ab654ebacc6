import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { expect, it } from 'vitest'
import { CodedError, errnoName, errorCodes, finding, hasCode, isErrno, isErrorCode } from '../../src/core/errors.ts'
import { storageError } from '../../src/core/files/storage-error.ts'

it('gives every code the exit status of the contract', () => {
  const exits: Readonly<Record<number, string>> = {
    64: 'CONFIG_INVALID',
    65: 'REF_INVALID MANIFEST_INVALID SPEC_MISMATCH FEATURE_INVALID SAMPLE_CORRUPT CHECKPOINT_INVALID CONTRACT_MISMATCH EXPORT_MISMATCH',
    66: 'SAMPLE_NOT_FOUND SAMPLE_STALE',
    69: 'STORE_UNAVAILABLE PYTHON_UNAVAILABLE PEER_TIMEOUT PEER_FAILED',
    70: 'PYTHON_RAISED OUT_OF_MEMORY ENGINE_DIED RANK_DIED RANK_HUNG STORE_CLOSED',
    75: 'STORE_OVER_BUDGET STORE_FULL STORE_BUSY',
    77: 'STORE_AUTH',
    130: 'INTERRUPTED',
  }
  const expected = Object.entries(exits).flatMap(([exit, codes]) =>
    codes.split(' ').map((code) => [code, Number(exit)]),
  )
  const found = errorCodes.map((code) => [code, new CodedError(code, '', {} as never).exitCode])
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected))
})

it('tells the two signals apart', () => {
  expect(new CodedError('INTERRUPTED', '', { signal: 'SIGINT' }).exitCode).toBe(130)
  expect(new CodedError('INTERRUPTED', '', { signal: 'SIGTERM' }).exitCode).toBe(143)
})

it('says that a retry can help exactly where space, locks or peers may come back', () => {
  const retryable = errorCodes.filter((code) => new CodedError(code, '', {} as never).retryable)
  expect(retryable).toEqual(['STORE_UNAVAILABLE', 'PEER_TIMEOUT', 'STORE_OVER_BUDGET', 'STORE_FULL', 'STORE_BUSY'])
})

it('writes what failed, where, what was found and what to do, in that order', () => {
  const cause = new Error('below')
  const error = finding('REF_INVALID', 'bad ref', { fix: 'mend', found: '2', field: 'a.b', file: '/x' }, { cause })
  expect(error.message).toBe('bad ref\n  file:  /x\n  field: a.b\n  found: 2\n  fix:   mend')
  expect(error).toMatchObject({ name: 'CodedError', code: 'REF_INVALID', cause, details: { file: '/x', fix: 'mend' } })
  expect(finding('STORE_CLOSED', 'closed', {}).message).toBe('closed')
})

it('recognises its own codes and those of the operating system, and nothing else', () => {
  const error: unknown = finding('STORE_FULL', 'full', {})
  expect([
    hasCode(error, 'STORE_FULL'),
    hasCode(error, 'STORE_BUSY'),
    hasCode({ code: 'STORE_FULL' }, 'STORE_FULL'),
  ]).toEqual([true, false, false])
  const missing = Object.assign(new Error('gone'), { code: 'ENOENT' })
  expect([isErrno(missing, 'ENOENT'), isErrno(missing, 'EIO'), isErrno({ code: 'ENOENT' }, 'ENOENT')]).toEqual([
    true,
    false,
    false,
  ])
  expect([isErrorCode('STORE_FULL'), isErrorCode('toString'), isErrorCode('')]).toEqual([true, false, false])
})

it('knows system errors that Node has no name for', () => {
  for (const name of ['ESTALE', 'EDQUOT'] as const) {
    const error = systemError(name, 'read')
    expect([isErrno(error, name), isErrno(error, 'EIO'), errnoName(error)]).toEqual([true, false, name])
  }
  expect(storageError(systemError('EDQUOT', 'write'), '/store')).toMatchObject({ code: 'STORE_FULL' })
  expect(storageError(systemError('ESTALE', 'read'), '/store')).toMatchObject({
    code: 'STORE_UNAVAILABLE',
    details: { found: 'ESTALE from read' },
  })
})

const systemError = (name: 'ESTALE' | 'EDQUOT', syscall: string) =>
  Object.assign(new Error(name), {
    errno: -constants.errno[name],
    code: getSystemErrorName(-constants.errno[name]),
    syscall,
  })
