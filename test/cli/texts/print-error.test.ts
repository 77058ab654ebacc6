import { expect, it } from 'vitest'
import { describeError } from '../../../src/cli/texts/print-error.ts'

it('a refusal of the file system that nobody has explained is no bug', () => {
  const refusal = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'mkdir', path: '/full/folder' })
  const { text, exitCode } = describeError(refusal, false)
  expect(exitCode).toBe(75)
  expect(text).toContain('STORE_FULL')
  expect(text).toContain('/full/folder')
  expect(text).not.toContain('bug')
})

it('a bug is called one, with its stack', () => {
  const { text, exitCode } = describeError(new TypeError('not a function'), false)
  expect([exitCode, text]).toEqual([70, expect.stringMatching(/this is a bug[\s\S]*print-error\.test/)])
})
