import { expect, it } from 'vitest'
import { RunId, SampleId, StoreId } from '../../src/core/ids.ts'
import { FeatureStore } from '../../src/store/feature-store.ts'
import { hollowPorts, hollowSet, type SharedMemory, sharedMemory } from '../support/watched-ports.ts'

const id = SampleId.parse('s')
const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }
const broken = new Error('the blobs broke')

function setUp(memory: SharedMemory = sharedMemory(), retain = false) {
  const ports = hollowPorts(memory)
  const store = new FeatureStore(ports, { id: StoreId.parse('store'), retain })
  const keys = () => [...memory.tensors.held.keys()]
  return { ports, keys, store, put: (sampleId = id) => store.put(sampleId, hollowSet(), about) }
}

it('lists all blobs once in a life of puts, and never on a get', async () => {
  const { ports, store, put } = setUp()
  for (let index = 0; index < 20; index++) {
    const ref = await put(SampleId.parse(`s${index % 5}`))
    await (await store.get(ref))[Symbol.asyncDispose]()
  }
  const count = (method: string) => ports.calls.filter((each) => each === method).length
  expect([count('list all'), count('list one'), count('claimEpoch')]).toEqual([1, 0, 1])
  await expect(store.get({ ...(await put()), generation: 7 as never })).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
  expect(count('list one')).toBe(1)
})

it('asks for one sample at a time once a second producer is there, and lists the whole store no more', async () => {
  const memory = sharedMemory()
  const [a, b] = [setUp(memory), setUp(memory)]
  for (let round = 0; round < 5; round++) for (const each of [a, b]) await each.put()
  for (const { ports } of [a, b]) {
    expect(ports.calls.filter((call) => call === 'claimEpoch').length).toBeLessThanOrEqual(5 + 2)
    expect(ports.calls.filter((call) => call === 'list all').length).toBeLessThanOrEqual(1)
  }
  expect(a.keys()).toHaveLength(1)
})

it.each([1, 2])('tells a producer that came while it put, having put %i times before', async (times) => {
  const memory = sharedMemory()
  const [a, b] = [setUp(memory), setUp(memory)]
  for (let round = 0; round < times; round++) for (const each of [b, a]) await each.put()
  const { reached, go } = a.ports.stopOnce('write')
  const slow = a.put()
  await reached
  const late = setUp(memory)
  await late.put(SampleId.parse('other'))
  go()
  await slow
  await late.put()
  expect(a.keys()).toHaveLength(2)
})

it('passes the number of a sample that another producer has put and somebody has freed', async () => {
  const memory = sharedMemory()
  const [a, b] = [setUp(memory), setUp(memory)]
  await a.put()
  for (let round = 0; round < 4; round++) {
    const freed = await b.put()
    await (await b.store.get(freed))[Symbol.asyncDispose]()
    expect((await a.put()).generation).toBeGreaterThan(freed.generation)
    await a.store.abort(id)
  }
})

it('announces itself again when the first try failed', async () => {
  const memory = sharedMemory()
  const [a, b] = [setUp(memory), setUp(memory)]
  await a.put()
  await b.put()
  a.ports.failOnce('claimEpoch', broken)
  await expect(a.put()).rejects.toBe(broken)
  await a.put()
  await b.put()
  expect(a.keys()).toHaveLength(1)
})

it('keeps the old sample when a put fails, and puts again', async () => {
  const { ports, keys, store, put } = setUp(sharedMemory(), true)
  const ref = await put()
  ports.failOnce('write', broken)
  await expect(put()).rejects.toBe(broken)
  await (await store.get(ref))[Symbol.asyncDispose]()
  expect((await put()).generation).toBeGreaterThan(ref.generation)
  expect(keys()).toHaveLength(1)
})

it('reports an old generation that it could not remove, and removes it with the next put', async () => {
  const { ports, keys, put } = setUp()
  await put()
  ports.failOnce('remove', broken)
  await expect(put()).rejects.toBe(broken)
  expect(keys()).toHaveLength(2)
  const ref = await put()
  expect(keys()).toEqual([`s@${ref.generation}`])
})

it('tries an index that could not be built again with the next put', async () => {
  const { ports, put } = setUp()
  ports.failOnce('list all', broken)
  await expect(put()).rejects.toBe(broken)
  await expect(put()).resolves.toBeDefined()
})

it('claims again after a claim that failed', async () => {
  const { ports, put } = setUp()
  ports.failOnce('claimEpoch', broken)
  await expect(put()).rejects.toBe(broken)
  await expect(put()).resolves.toBeDefined()
})

it('holds no lease after a read that failed', async () => {
  const { ports, store, put } = setUp()
  const ref = await put()
  ports.failOnce('read', broken)
  await expect(store.get(ref)).rejects.toBe(broken)
  expect(store.leases).toBe(0)
})

it('has given the lease back and freed its tensors also when the removal fails', async () => {
  const { ports, store, put } = setUp()
  const lease = await store.get(await put())
  ports.failOnce('remove', broken)
  await expect(lease[Symbol.asyncDispose]()).rejects.toBe(broken)
  expect(store.leases).toBe(0)
  expect(() => lease.tensors.handle).toThrow('after dispose')
})

it('never removes a sample twice for one consumption', async () => {
  const { ports, store, put } = setUp()
  const ref = await put()
  const leases = await Promise.all([store.get(ref), store.get(ref), store.get(ref)])
  await Promise.all(leases.map((lease) => lease[Symbol.asyncDispose]()))
  expect(ports.calls.filter((call) => call === 'remove')).toHaveLength(1)
})

it('waits at close for what is under way, and lets nothing new begin', async () => {
  const { ports, store, put } = setUp()
  const putting = [put(), put(), put(SampleId.parse('t'))]
  const closing = store.close()
  await expect(put()).rejects.toMatchObject({ code: 'STORE_CLOSED' })
  await closing
  expect(ports.calls.at(-1)).toBe('close')
  await Promise.all(putting)
  expect(ports.calls.at(-1)).toBe('close')
})
