import { describe, expect, it } from 'vitest'
import type { Lease } from '../../src/store/feature-store.ts'
import { digestsOf } from '../support/python.ts'
import { describeOwners } from './owners.contract.ts'
import { bench, type Clients, digestsOrError, type PromiseSubject } from './promise-bench.ts'
import { about, s0, s1, sample } from './subject.ts'

/** Each promise of the store is one test and has its name. Two clients stand for what `two-process` does with two processes. */
export function describePromises(name: string, subject: PromiseSubject): void {
  describe(`${name}: promise`, () => {
    const clients = bench(subject)
    describeBytes(clients)
    describeStale(clients, subject)
    describeFreeing(clients)
    describeOwners(clients)
    describeRefusals(clients)
  })
}

function describeBytes({ both, put }: Clients): void {
  it('a put is seen whole or not at all', async () => {
    const { here, there } = await both({ retain: true })
    const puts = [await put(here, 0)]
    let done = false
    const putting = (async () => {
      for (let seed = 1; seed <= 6; seed++) puts.push(await put(here, seed))
    })().finally(() => {
      done = true
    })
    while (!done) {
      // A refusal in memory takes no turn of the event loop, and the puts need theirs.
      await new Promise((resolve) => setImmediate(resolve))
      const newest = puts.at(-1)
      if (newest === undefined) throw new Error('no put')
      const seen = await digestsOrError(there, newest.ref)
      if (!(seen instanceof Error)) expect(seen).toEqual(newest.digests)
      else expect(seen).toMatchObject({ code: expect.stringMatching(/STALE|NOT_FOUND/) })
    }
    await putting
  })

  it('get returns exactly the put bytes', async () => {
    const { here, there } = await both()
    const { ref, digests } = await put(here, 1)
    expect(await digestsOrError(there, ref)).toEqual(digests)
  })

  it("the caller's copy is its own", async () => {
    const { here, there } = await both({ retain: true })
    const { ref, digests } = await put(here, 1)
    await using first = await here.get(ref)
    const second = await there.get(ref)
    await second[Symbol.asyncDispose]()
    await there.abort(s0)
    expect(await digestsOf(first.tensors)).toEqual(digests)
  })

  it('a part that is asked for is that part, byte for byte', async () => {
    const { here, there } = await both({ retain: true })
    const { ref } = await put(here, 1)
    await using whole = await here.get(ref, { names: ['hidden_state'] })
    await using part = await there.get(ref, { names: ['hidden_state'], rows: { start: 2, end: 5 } })
    await using again = await here.get(ref, { names: ['hidden_state'], rows: { start: 2, end: 5 } })
    expect(part.tensors.features).toEqual([{ name: 'hidden_state', shape: [3, 8], dtype: 'float32' }])
    expect(await digestsOf(part.tensors)).toEqual(await digestsOf(again.tensors))
    expect(await digestsOf(part.tensors)).not.toEqual(await digestsOf(whole.tensors))
    const rows = { start: 4, end: 7 }
    await expect(here.get(ref, { rows })).rejects.toMatchObject({ code: 'SPEC_MISMATCH' })
  })

  it('getMany gives all in order or the first error and nothing held', async () => {
    const { here, there } = await both({ retain: true })
    const [a, b] = [await put(here, 1), await put(here, 2, s1)]
    const leases = await there.getMany([b.ref, a.ref, b.ref])
    const seen = await Promise.all(leases.map((lease) => digestsOf(lease.tensors)))
    expect(seen).toEqual([b.digests, a.digests, b.digests])
    for (const lease of leases) await lease[Symbol.asyncDispose]()
    await here.abort(s1)
    await expect(there.getMany([a.ref, b.ref])).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    expect(there.leases).toBe(0)
  })
}

function describeStale({ both, put, open }: Clients, subject: PromiseSubject): void {
  const stale = { code: 'SAMPLE_STALE', exitCode: 66 }

  it('a stale ref never resolves: after re-put', async () => {
    const { here, there } = await both()
    const old = await put(here, 1)
    await put(here, 1)
    for (const store of [here, there]) await expect(store.get(old.ref)).rejects.toMatchObject(stale)
  })

  it('a stale ref never resolves: after free and re-put', async () => {
    const { here, there } = await both()
    const old = await put(here, 1)
    await digestsOrError(there, old.ref)
    await put(here, 1)
    for (const store of [here, there]) await expect(store.get(old.ref)).rejects.toMatchObject(stale)
  })

  it("a stale ref never resolves: after another producer's put", async () => {
    const { here, there } = await both()
    const old = await put(here, 1)
    await put(there, 1)
    for (const store of [here, there]) await expect(store.get(old.ref)).rejects.toMatchObject(stale)
  })

  it('a stale ref never resolves: whichever of several producers came last', async () => {
    const { here, there, place } = await both()
    for (const store of [here, there, here]) await put(store, 1)
    const last = await open(place, { retain: false })
    await put(last, 2, s1)
    const old = await put(here, 1)
    await put(last, 1)
    for (const store of [here, there, last]) await expect(store.get(old.ref)).rejects.toMatchObject(stale)
  })

  it('a stale ref never resolves: after restart', async (context) => {
    if (!subject.outlivesClients) context.skip('what is in the memory of one process is gone with it')
    const { here, there, place } = await both()
    const old = await put(here, 1)
    await digestsOrError(here, old.ref)
    for (const store of [here, there]) await store.close()
    const after = await open(place, { retain: false })
    await put(after, 1)
    await expect(after.get(old.ref)).rejects.toMatchObject(stale)
  })
}

function describeFreeing({ both, put }: Clients): void {
  it('last release frees, no earlier, counting the leases of all clients', async () => {
    const { here, there } = await both()
    const { ref, digests } = await put(here, 1)
    const [mine, theirs] = [await here.get(ref), await there.get(ref)]
    await mine[Symbol.asyncDispose]()
    expect(await digestsOrError(here, ref)).toEqual(digests)
    await theirs[Symbol.asyncDispose]()
    await expect(here.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })

  it('a get that meets the last release holds the sample, or says that it is gone', async () => {
    const { here, there } = await both()
    for (let round = 0; round < 24; round++) {
      const { ref, digests } = await put(here, round)
      const theirs = await there.get(ref)
      const getting = here.get(ref).catch((error: unknown) => error)
      // The release begins somewhere else in the get each time.
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve))
      await theirs[Symbol.asyncDispose]()
      const mine = await getting
      if (mine instanceof Error) expect(mine).toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
      else {
        expect(await digestsOf((mine as Lease).tensors)).toEqual(digests)
        expect(await digestsOrError(there, ref)).toEqual(digests)
        await (mine as Lease)[Symbol.asyncDispose]()
      }
      await expect(there.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    }
    expect((await here.usage()).bytes).toBe(0)
  })

  it('retain keeps through epochs', async () => {
    const { here, there } = await both({ retain: true })
    const { ref, digests } = await put(here, 1)
    for (let epoch = 0; epoch < 3; epoch++)
      for (const store of [here, there]) expect(await digestsOrError(store, ref)).toEqual(digests)
  })

  it('a release of an old lease never touches newer data', async () => {
    const { here, there } = await both()
    const old = await there.get((await put(here, 1)).ref)
    const fresh = await put(here, 2)
    await old[Symbol.asyncDispose]()
    expect(await digestsOrError(there, fresh.ref)).toEqual(fresh.digests)
  })

  it('abort is idempotent and removes everything of a sample', async () => {
    const { here, there } = await both({ retain: true })
    const { ref } = await put(here, 1)
    for (const store of [there, here, there]) await store.abort(s0)
    await expect(here.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    expect(await here.missing([ref])).toEqual([ref])
    expect((await here.usage()).bytes).toBe(0)
  })

  it('a sample is claimed by exactly one and acknowledged once', async () => {
    const { here, there } = await both()
    const { ref, digests } = await put(here, 1)
    const outcomes = await Promise.allSettled([here, there, here, there].map((store) => store.claim(ref)))
    const won = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    expect(won).toHaveLength(1)
    for (const claim of won) {
      expect(await digestsOf(claim.tensors)).toEqual(digests)
      await claim.acknowledge()
      await claim.acknowledge()
    }
    await expect(there.claim(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    expect((await there.usage()).bytes).toBe(0)
  })

  it('claimMany takes what it can and says what it could not', async () => {
    const { here, there } = await both()
    const [a, b] = [await put(here, 1), await put(here, 2, s1)]
    await using held = await there.claim(a.ref)
    const { claims, busy, gone } = await here.claimMany([a.ref, b.ref, { ...b.ref, generation: 1 as never }])
    expect([claims.map((claim) => claim.ref), busy, gone.length]).toEqual([[b.ref], [held.ref], 1])
    for (const claim of claims) await claim[Symbol.asyncDispose]()
    await using again = await there.claim(b.ref)
    expect(await digestsOf(again.tensors)).toEqual(b.digests)
  })

  it('a client that was taken for dead can neither put nor claim, and its claim is for others', async () => {
    const { here, there } = await both()
    const { ref } = await put(here, 1)
    const lost = await there.claim(ref)
    await here.fence(there.memberId)
    await using source = await sample(2)
    await expect(there.put(s1, source, about)).rejects.toMatchObject({ code: 'STORE_BUSY' })
    const taken = await here.claim(ref)
    await expect(lost.acknowledge()).rejects.toMatchObject({ code: 'STORE_BUSY' })
    await taken.acknowledge()
    await expect(here.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })

  it('a quarantined sample is served to nobody, and a new put of it is', async () => {
    const { here, there } = await both({ retain: true })
    const { ref } = await put(here, 1)
    await there.quarantine(ref, 'a test')
    for (const store of [here, there]) await expect(store.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    const fresh = await put(here, 1)
    expect(await digestsOrError(there, fresh.ref)).toEqual(fresh.digests)
  })
}

function describeRefusals({ both, put, open }: Clients): void {
  it('over quota changes nothing and says so (75)', async () => {
    const { here, place } = await both({ retain: true })
    const { ref, digests } = await put(here, 1)
    const { bytes } = await here.usage()
    const bounded = await open(place, { retain: true, quota: bytes + 10 })
    await using source = await sample(2)
    const refused = { code: 'STORE_OVER_BUDGET', exitCode: 75 }
    await expect(bounded.put(s0, source, about)).rejects.toMatchObject(refused)
    await expect(bounded.put(s1, source, about)).rejects.toMatchObject(refused)
    expect(await digestsOrError(here, ref)).toEqual(digests)
    expect((await here.usage()).bytes).toBe(bytes)
  })
}
