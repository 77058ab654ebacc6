import { expect, it } from 'vitest'
import { describeError } from '../../../src/cli/texts/print-error.ts'
import { finding } from '../../../src/core/errors.ts'

it('a file system error that no code has translated is not reported as a bug', () => {
  const failure = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'mkdir', path: '/full/folder' })
  const { text, exitCode } = describeError(failure, false)
  expect(exitCode).toBe(75)
  expect(text).toContain('STORE_FULL')
  expect(text).toContain('/full/folder')
  expect(text).not.toContain('bug')
})

it('a bug is reported as a bug, with its stack', () => {
  const { text, exitCode } = describeError(new TypeError('not a function'), false)
  expect([exitCode, text]).toEqual([70, expect.stringMatching(/this is a bug[\s\S]*print-error\.test/)])
})

it('an input that an error quotes cannot write over the screen', () => {
  const error = finding('FEATURE_INVALID', 'bad', { file: 'a', found: '\u001b[2J\rgood' })
  expect(describeError(error, false).text).toContain('found: \\u{1b}[2J\\u{d}good\n')
})
