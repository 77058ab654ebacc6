import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RunId, SampleId, StoreId } from '../../../src/core/ids.ts'
import type { SampleRef } from '../../../src/core/sample-ref.ts'
import { FeatureStore } from '../../../src/store/feature-store.ts'
import { hollow, hollowPorts, hollowSet, type SharedMemory, sharedMemory } from '../../support/watched-ports.ts'

const id = SampleId.parse('s')
const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }
const broken = new Error('the blobs broke')
const gone = { code: 'SAMPLE_NOT_FOUND', exitCode: 66 }

let memory: SharedMemory = sharedMemory()
let here = client()
let there = client()
let ref: SampleRef

function client() {
  const ports = hollowPorts(memory)
  return { ports, store: new FeatureStore(ports, { id: StoreId.parse('store'), retain: false }) }
}

beforeEach(async () => {
  hollow.live = 0
  memory = sharedMemory()
  here = client()
  there = client()
  const tensors = hollowSet()
  ref = await here.store.put(id, tensors, about)
  await tensors[Symbol.asyncDispose]()
})

// Whatever became of a get: no copy is left, nor a note of a lease.
afterEach(async () => {
  for (const { store } of [here, there]) expect(store.leases).toBe(0)
  // The stored copy, where there is one, is the store's own.
  expect(hollow.live).toBe(keys().length)
  expect(await memory.facts.notes.list('leases')).toEqual([])
  for (const { store } of [here, there]) await store.close()
})

const keys = () => [...memory.tensors.held.keys()]

/** Takes the sample and gives it back, which frees it. */
async function consume(store: FeatureStore): Promise<void> {
  await (await store.get(ref))[Symbol.asyncDispose]()
}

describe('a get, which reads the sample while it takes the lease,', () => {
  it('does both at the same time', async () => {
    const [read, enter] = [here.ports.stopOnce('read'), here.ports.stopOnce('enter')]
    const getting = consume(here.store)
    await Promise.all([read.reached, enter.reached])
    for (const each of [enter, read]) each.go()
    await getting
  })

  it('says that it is gone when it was freed, and forgotten, between the read and the lease', async () => {
    const enter = here.ports.stopOnce('enter')
    const getting = here.store.get(ref)
    await enter.reached
    await consume(there.store)
    enter.go()
    await expect(getting).rejects.toMatchObject(gone)
  })

  it('says that it is gone when somebody is about to free it, and finishes that', async () => {
    const remove = there.ports.stopOnce('remove')
    const freeing = consume(there.store)
    await remove.reached
    await expect(here.store.get(ref)).rejects.toMatchObject(gone)
    expect(keys()).toEqual([])
    remove.go()
    await freeing
  })

  it('says that it is gone when it was aborted after the read', async () => {
    const has = here.ports.stopOnce('has')
    const getting = here.store.get(ref)
    await has.reached
    await there.store.abort(id)
    has.go()
    await expect(getting).rejects.toMatchObject(gone)
  })

  it('says that it was replaced when there was a put after the read', async () => {
    const has = here.ports.stopOnce('has')
    const getting = here.store.get(ref)
    await has.reached
    const tensors = hollowSet()
    await there.store.put(id, tensors, about)
    await tensors[Symbol.asyncDispose]()
    has.go()
    await expect(getting).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
  })

  it.each(['enter', 'has'] as const)('fails with the error of the lease (%s), whatever was read', async (step) => {
    here.ports.failOnce(step, broken)
    await expect(here.store.get(ref)).rejects.toBe(broken)
    here.ports.failOnce(step, broken)
    here.ports.failOnce('read', new Error('another one'))
    await expect(here.store.get(ref)).rejects.toBe(broken)
    await consume(here.store)
    expect(keys()).toEqual([])
  })

  it('is ended by a close only when it has ended, and then holds nothing', async () => {
    const read = here.ports.stopOnce('read')
    const getting = here.store.get(ref)
    await read.reached
    const closing = here.store.close()
    read.go()
    await expect(getting).rejects.toMatchObject({ code: 'STORE_CLOSED' })
    await closing
    expect(here.ports.calls.at(-1)).toBe('close')
  })

  it('holds none of several when one is gone', async () => {
    const tensors = hollowSet()
    const other = await here.store.put(SampleId.parse('t'), tensors, about)
    await tensors[Symbol.asyncDispose]()
    const enter = here.ports.stopOnce('enter')
    const getting = here.store.getMany([ref, other, other])
    await enter.reached
    await consume(there.store)
    enter.go()
    await expect(getting).rejects.toMatchObject(gone)
    expect(keys()).toEqual([`t@${other.generation}`])
  })
})

it('a claim reads nothing of a sample that another has', async () => {
  const claim = await here.store.claim(ref)
  await expect(there.store.claim(ref)).rejects.toMatchObject({ code: 'STORE_BUSY' })
  expect(there.ports.calls).not.toContain('read')
  await claim.acknowledge()
})
