import { expect, it } from 'vitest'
import { finding } from '../../src/core/errors.ts'
import type { Members } from '../../src/store/coordination/members.ts'
import { StoreOperations } from '../../src/store/store-operations.ts'

const gone = Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT', syscall: 'rename', path: '/staging/m' })

/** A member whose note is seen to be gone from the `at`-th look on. */
function operationsOf(at: number) {
  let looks = 0
  const members: Pick<Members, 'join' | 'wasFenced' | 'fencedError'> = {
    join: async () => undefined,
    wasFenced: async () => {
      looks += 1
      return looks >= at
    },
    fencedError: () => finding('STORE_BUSY', 'this process was taken for dead', {}),
  }
  return { operations: new StoreOperations(members as Members), looks: () => looks }
}

const failing = (operations: StoreOperations, error: Error) => operations.run('put', () => Promise.reject(error))

it('tells a process that was fenced while it worked, though its place goes before its note', async () => {
  await expect(failing(operationsOf(3).operations, gone)).rejects.toMatchObject({ code: 'STORE_BUSY' })
})

it('codes what is gone for another reason', async () => {
  const { operations } = operationsOf(Number.POSITIVE_INFINITY)
  const details = { file: '/staging/m', found: 'ENOENT from rename' }
  await expect(failing(operations, gone)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', details })
})

it('does not wait where nothing is gone', async () => {
  const { operations, looks } = operationsOf(Number.POSITIVE_INFINITY)
  const bug = new TypeError('not a function')
  await expect(failing(operations, bug)).rejects.toBe(bug)
  expect(looks()).toBe(1)
})
