import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { asInterruption, interrupted, stoppable, throwIfStopped } from '../../src/core/interruption.ts'

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  [new Error('closed by the library'), 130],
])('an abort by %s exits with %i', (reason, exitCode) => {
  expect(interrupted('stopped', AbortSignal.abort(reason))).toMatchObject({ code: 'INTERRUPTED', exitCode })
})

it('throws only when the signal is aborted', () => {
  throwIfStopped(new AbortController().signal, 'stopped between two samples')
  expect(() => throwIfStopped(AbortSignal.abort('SIGTERM'), 'stopped between two samples')).toThrow(
    expect.objectContaining({ message: 'stopped between two samples', details: { signal: 'SIGTERM' } }),
  )
})

it('a wait that the signal cuts short is an interruption', async () => {
  const controller = new AbortController()
  const waiting = stoppable(controller.signal, () => sleep(60_000, undefined, { signal: controller.signal }))
  controller.abort('SIGTERM')
  await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED', details: { signal: 'SIGTERM' } })
  await expect(stoppable(controller.signal, () => Promise.reject(controller.signal.reason))).rejects.toMatchObject({
    code: 'INTERRUPTED',
  })
})

it('any other error stays what it is, also after the signal', async () => {
  const bug = new TypeError('not a function')
  expect(asInterruption(bug, AbortSignal.abort('SIGINT'))).toBe(bug)
  const aborted = new DOMException('by somebody else', 'AbortError')
  expect(asInterruption(aborted, new AbortController().signal)).toBe(aborted)
  expect(await stoppable(AbortSignal.abort('SIGINT'), async () => 7)).toBe(7)
})
