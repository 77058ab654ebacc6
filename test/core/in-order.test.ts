import { describe, expect, it } from 'vitest'
import { InOrder } from '../../src/core/in-order.ts'

/** A task that ends when it is told to. */
function held<T>() {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>((tell) => {
    resolve = tell
  })
  return { task: () => promise, resolve: (value: T) => resolve(value) }
}

const ROOM = { tasks: 3, weight: 10 }

describe('tasks in order', () => {
  it('run side by side, and their results come in the order they were begun', async () => {
    const tasks = new InOrder<string>(ROOM, async () => undefined)
    const [slow, quick] = [held<string>(), held<string>()]
    tasks.begin(1, slow.task)
    tasks.begin(1, quick.task)
    quick.resolve('second')
    const first = tasks.next()
    slow.resolve('first')
    expect(await first).toEqual({ value: 'first' })
    expect(await tasks.next()).toEqual({ value: 'second' })
    expect(await tasks.next()).toBeUndefined()
  })

  it('are bounded in number and in weight, but one always may run', async () => {
    const tasks = new InOrder<number>(ROOM, async () => undefined)
    expect(tasks.hasRoomFor(1000)).toBe(true)
    tasks.begin(6, async () => 1)
    expect([tasks.hasRoomFor(4), tasks.hasRoomFor(5)]).toEqual([true, false])
    tasks.begin(1, async () => 2)
    tasks.begin(1, async () => 3)
    expect(tasks.hasRoomFor(1)).toBe(false)
    await tasks.next()
    expect([tasks.hasRoomFor(8), tasks.hasRoomFor(9)]).toEqual([true, false])
  })

  it('give what came before a failure, then the failure; what came after is dropped once it is there', async () => {
    const dropped: string[] = []
    const tasks = new InOrder<string>(ROOM, async (value) => dropped.push(value))
    const late = held<string>()
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
    const tasks = new InOrder<string>(ROOM, async () => undefined)
    tasks.begin(1, () => Promise.reject(new Error('one')))
    tasks.begin(1, () => Promise.reject(new Error('two')))
    await tasks.abandon()
    expect(await tasks.next()).toBeUndefined()
  })

  it('take no room any more once they are abandoned', async () => {
    const tasks = new InOrder<number>(ROOM, async () => undefined)
    tasks.begin(8, async () => 1)
    await tasks.abandon()
    tasks.begin(5, async () => 2)
    expect([tasks.hasRoomFor(5), tasks.hasRoomFor(6)]).toEqual([true, false])
  })
})
