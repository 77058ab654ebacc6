import { expect, it } from 'vitest'
import { finding } from '../../src/core/errors.ts'
import type { Members } from '../../src/store/coordination/members.ts'
import { Gate } from '../../src/store/gate.ts'

const gone = Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT', syscall: 'rename', path: '/staging/m' })

/** A member whose note is seen to be gone from the `at`-th look on. */
function gateOf(at: number) {
  let looks = 0
  const members: Pick<Members, 'join' | 'wasFenced' | 'fencedError'> = {
    join: async () => undefined,
    wasFenced: async () => {
      looks += 1
      return looks >= at
    },
    fencedError: () => finding('STORE_BUSY', 'this process was taken for dead', {}),
  }
  return { gate: new Gate(members as Members), looks: () => looks }
}

const failing = (gate: Gate, error: Error) => gate.run('put', () => Promise.reject(error))

it('tells a process that was fenced while it worked, though its place goes before its note', async () => {
  await expect(failing(gateOf(3).gate, gone)).rejects.toMatchObject({ code: 'STORE_BUSY' })
})

it('codes what is gone for another reason', async () => {
  const { gate } = gateOf(Number.POSITIVE_INFINITY)
  const details = { file: '/staging/m', found: 'ENOENT from rename' }
  await expect(failing(gate, gone)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', details })
})

it('does not wait where nothing is gone', async () => {
  const { gate, looks } = gateOf(Number.POSITIVE_INFINITY)
  const bug = new TypeError('not a function')
  await expect(failing(gate, bug)).rejects.toBe(bug)
  expect(looks()).toBe(1)
})
