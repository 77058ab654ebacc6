import { afterEach, describe, expect, it, vi } from 'vitest'
import { type Monotonic, monotonic } from '../../../src/core/liveness/monotonic.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'

afterEach(() => vi.useRealTimers())

// What waits on a time in a test waits as it would on the real one.
describe.each([
  ['of this process', () => monotonic],
  ['of a test', () => new FakeMonotonic()],
] as const)('the time %s', (_, make: () => Monotonic) => {
  it('has moved on by the time that it slept', async () => {
    const time = make()
    const before = time.now()
    await time.sleep(20)
    // A timer may fire a millisecond early.
    expect(time.now() - before).toBeGreaterThanOrEqual(19)
  })

  it('ends a sleep with the reason of its signal, before or meanwhile', async () => {
    const time = make()
    await expect(time.sleep(1, AbortSignal.abort('SIGINT'))).rejects.toBe('SIGINT')
    const meanwhile = new AbortController()
    const sleeping = time.sleep(600_000, meanwhile.signal)
    meanwhile.abort('SIGTERM')
    await expect(sleeping).rejects.toBe('SIGTERM')
  })
})

it.each([600_000, -600_000])('does not follow a wall clock that steps by %i ms', (step) => {
  const before = monotonic.now()
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + step })
  expect(monotonic.now() - before).toBeGreaterThanOrEqual(0)
  expect(monotonic.now() - before).toBeLessThan(60_000)
})
