import { truncate } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { judgeStates } from '../../scripts/faults/crash-points.ts'
import { crashStates } from '../../scripts/faults/crash-states.ts'
import { filesBelow } from '../../scripts/faults/files-below.ts'
import { KeptWitnesses } from '../../scripts/faults/kept-witnesses.ts'
import { kills } from '../../scripts/faults/kills.ts'
import { operations } from '../../scripts/faults/operations.ts'
import { whyNoStrace } from '../../scripts/faults/traced-calls.ts'
import { WorkerProcess } from '../../scripts/faults/worker-process.ts'
import { tempDir } from '../support/temp-dir.ts'

const reason = whyNoStrace()

describe('a process that is killed', () => {
  it('leaves a store that keeps its promises, whatever call was its last', async (context) => {
    if (reason !== null) context.skip(reason)
    const outcomes = await judgeStates(Object.keys(operations), await tempDir())
    expect(outcomes.filter(({ broken }) => broken.length > 0)).toEqual([])
    expect(outcomes.reduce((sum, { unseen }) => sum + unseen, 0)).toBeLessThanOrEqual(outcomes.length / 50)
    expect(new Set(outcomes.map(({ operation }) => operation))).toEqual(new Set(Object.keys(operations)))
    // What a put must do at the least: make a file, fill it, sync it, give it its name.
    const calls = outcomes.filter(({ operation }) => operation === 're-put').map(({ fault }) => fault)
    for (const call of ['openat', 'pwrite64', 'fsync', 'unlink']) expect(calls).toContain(call)
  }, 600_000)

  it('is killed for good by a signal too, and leaves the same', async (context) => {
    if (reason !== null) context.skip(reason)
    await using checker = await WorkerProcess.start()
    const first = await kills(checker, 'abort', await tempDir()).next()
    expect(first).toMatchObject({ done: false, value: { broken: [] } })
  }, 600_000)

  it('would be found out if it left half an object', async (context) => {
    if (reason !== null) context.skip(reason)
    await using worker = await WorkerProcess.start()
    await using witnesses = new KeptWitnesses()
    const [state] = await crashStates(worker, 'abort', await tempDir(), witnesses)
    if (state === undefined) throw new Error('an abort without a call')
    const objects = path.join(state.dir, 'store', 'objects')
    for (const name of await filesBelow(objects)) await truncate(path.join(objects, name), 5000)
    const { operation, dir, before } = state
    const answer = await worker.ask({ do: 'check', operation, dir, before })
    expect(answer?.broken?.join()).toMatch(/every object that can be seen is whole/)
  }, 600_000)
})
