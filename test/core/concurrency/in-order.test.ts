import { describe, expect, it } from 'vitest'
import { InOrder } from '../../../src/core/concurrency/in-order.ts'

/** A task that ends when the test calls `resolve`. */
function controlled<T>() {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolvePromise) => {
    resolve = resolvePromise
  })
  return { task: () => promise, resolve: (value: T) => resolve(value) }
}

const LIMITS = { tasks: 3, weight: 10 }

describe('tasks in order', () => {
  it('run at the same time, and their results come in the order in which they were started', async () => {
    const tasks = new InOrder<string>(LIMITS, async () => undefined)
    const [slow, quick] = [controlled<string>(), controlled<string>()]
    tasks.begin(1, slow.task)
    tasks.begin(1, quick.task)
    quick.resolve('second')
    const first = tasks.next()
    slow.resolve('first')
    expect(await first).toEqual({ value: 'first' })
    expect(await tasks.next()).toEqual({ value: 'second' })
    expect(await tasks.next()).toBeUndefined()
  })

  it('are limited in number and in weight, but one may always run', async () => {
    const tasks = new InOrder<number>(LIMITS, async () => undefined)
    expect(tasks.canBegin(1000)).toBe(true)
    tasks.begin(6, async () => 1)
    expect([tasks.canBegin(4), tasks.canBegin(5)]).toEqual([true, false])
    tasks.begin(1, async () => 2)
    tasks.begin(1, async () => 3)
    expect(tasks.canBegin(1)).toBe(false)
    await tasks.next()
    expect([tasks.canBegin(8), tasks.canBegin(9)]).toEqual([true, false])
  })

  it('return the results before a failure, then the failure; later results are dropped', async () => {
    const dropped: string[] = []
    const tasks = new InOrder<string>(LIMITS, async (value) => dropped.push(value))
    const late = controlled<string>()
    tasks.begin(1, async () => 'good')
    tasks.begin(1, () => Promise.reject(new Error('bad')))
    tasks.begin(1, late.task)
    expect(await tasks.next()).toEqual({ value: 'good' })
    const failed = expect(tasks.next()).rejects.toThrow('bad')
    late.resolve('late')
    await failed
    expect(dropped).toEqual(['late'])
    expect(tasks.isEmpty).toBe(true)
  })

  it('fail quietly when they are abandoned', async () => {
    const tasks = new InOrder<string>(LIMITS, async () => undefined)
    tasks.begin(1, () => Promise.reject(new Error('one')))
    tasks.begin(1, () => Promise.reject(new Error('two')))
    await tasks.abandon()
    expect(await tasks.next()).toBeUndefined()
  })

  it('take no room any more once they are abandoned', async () => {
    const tasks = new InOrder<number>(LIMITS, async () => undefined)
    tasks.begin(8, async () => 1)
    await tasks.abandon()
    tasks.begin(5, async () => 2)
    expect([tasks.canBegin(5), tasks.canBegin(6)]).toEqual([true, false])
  })
})
