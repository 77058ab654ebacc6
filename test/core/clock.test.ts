import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { FakeClock } from '../support/fake-clock.ts'

// What waits on a clock in a test waits as it would on the real one.
describe.each([
  ['system', () => systemClock],
  ['fake', () => new FakeClock()],
] as const)('the %s clock', (_, make) => {
  it('has moved on by the time that it slept', async () => {
    const clock = make()
    const before = clock.now()
    await clock.sleep(20)
    // A timer may fire a millisecond early.
    expect(clock.now() - before).toBeGreaterThanOrEqual(19)
  })

  it('ends a sleep with an AbortError when its signal is aborted, before or meanwhile', async () => {
    const clock = make()
    const aborted = { name: 'AbortError' }
    await expect(clock.sleep(1, AbortSignal.abort())).rejects.toMatchObject(aborted)
    const meanwhile = new AbortController()
    if (clock instanceof FakeClock) clock.onSleep = () => meanwhile.abort('SIGTERM')
    const sleeping = clock.sleep(600_000, meanwhile.signal)
    meanwhile.abort('SIGTERM')
    await expect(sleeping).rejects.toMatchObject(aborted)
  })
})
