import { afterEach, describe, expect, it } from 'vitest'
import type { FeatureStore, Lease } from '../../src/store/feature-store.ts'
import type { SharedDirStoreOptions } from '../../src/store/open.ts'
import { checkHandlesAfterEach, digestsOf } from '../support/python.ts'
import { StoreProcess } from '../support/store-process.ts'
import { about, s0, s1, sample } from './subject.ts'

export interface SharedSubject {
  /** A new, empty place; what a process needs to open it. */
  place(): Promise<Omit<SharedDirStoreOptions, 'python'>>
  open(options: Omit<SharedDirStoreOptions, 'python'>): Promise<FeatureStore>
}

/** The promises, with the other side of each in a process of its own. */
export function describeTwoProcesses(name: string, subject: SharedSubject): void {
  describe(`${name}: two processes`, () => {
    const clients = bench(subject)
    describeData(clients)
    describeHolds(clients)
    describeFencing(clients)
  })
}

function describeData({ both, put }: Clients): void {
  it('a put is seen whole or not at all, and a get returns exactly the put bytes', async () => {
    const { here, there } = await both()
    let last = await put(there, s0, 0)
    let done = false
    const putting = (async () => {
      for (let seed = 1; seed <= 10; seed++) last = await put(there, s0, seed)
    })().finally(() => {
      done = true
    })
    // Whatever is read while the other side puts is all of one put, or is said to have been replaced.
    while (!done) {
      const { ref, digests } = last
      const seen = await here.get(ref).catch((error: unknown) => error)
      if (seen instanceof Error) expect(seen).toMatchObject({ code: expect.stringMatching(/STALE|NOT_FOUND/) })
      else await using(seen as Lease, async ({ tensors }) => expect(await digestsOf(tensors)).toEqual(digests))
    }
    await putting
    const theirs = await put(there, s1, 7)
    await using source = await sample(7)
    await using lease = await here.get(theirs.ref)
    expect(await digestsOf(lease.tensors)).toEqual(await digestsOf(source))
  })

  it('a stale ref never resolves after another producer has put, whoever asks', async () => {
    const { here, there } = await both()
    const old = await put(here, s0, 1)
    const fresh = await put(there, s0, 2)
    await expect(here.get(old.ref)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
    await expect(there.ask({ do: 'get', ref: old.ref })).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
    expect((await there.ask({ do: 'get', ref: fresh.ref })).digests).toEqual(fresh.digests)
  })

  it('abort removes the sample for everybody', async () => {
    const { here, there } = await both()
    const { ref } = await put(here, s0, 1)
    await there.ask({ do: 'abort', sampleId: s0 })
    await expect(here.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })
}

function describeHolds({ both, put, open }: Clients): void {
  it('the last release frees, no earlier, counting the leases of all processes', async () => {
    const { here, there } = await both()
    const { ref } = await put(here, s0, 1)
    const mine = await here.get(ref)
    const theirs = await there.ask({ do: 'get', ref })
    await mine[Symbol.asyncDispose]()
    await (await here.get(ref))[Symbol.asyncDispose]()
    await there.ask({ do: 'release', hold: theirs.hold ?? 0 })
    await expect(here.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })

  it('a get that meets the last release of another process holds the sample, or says that it is gone', async () => {
    const { here, there } = await both()
    for (let round = 0; round < 16; round++) {
      const { ref, digests } = await put(here, s0, round)
      const { hold = 0 } = await there.ask({ do: 'get', ref })
      const released = there.ask({ do: 'release', hold })
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve))
      const seen = await here.get(ref).catch((error: unknown) => error)
      await released
      if (seen instanceof Error) expect(seen).toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
      else {
        const again = await there.ask({ do: 'get', ref })
        expect(again.digests).toEqual(digests)
        await using(seen as Lease, async ({ tensors }) => expect(await digestsOf(tensors)).toEqual(digests))
        await there.ask({ do: 'release', hold: again.hold ?? 0 })
      }
      await expect(here.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
    }
  })

  it('a process that was killed with a lease does not keep the sample for ever', async () => {
    const { here, there } = await both()
    const { ref } = await put(here, s0, 1)
    await there.ask({ do: 'get', ref })
    const mine = await here.get(ref)
    await there.kill()
    await mine[Symbol.asyncDispose]()
    await expect(here.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })

  it('retain keeps through the releases of all processes', async () => {
    const { here, there } = await both({ retain: true })
    const { ref } = await put(here, s0, 1)
    for (let epoch = 0; epoch < 2; epoch++) {
      const { hold = 0 } = await there.ask({ do: 'get', ref })
      await there.ask({ do: 'release', hold })
      await (await here.get(ref))[Symbol.asyncDispose]()
    }
  })

  it('a sample is claimed by exactly one, freed by the acknowledgement, and free again when it is given back', async () => {
    const { here, there } = await both()
    const { ref } = await put(here, s0, 1)
    const { hold = 0 } = await there.ask({ do: 'claim', ref })
    await expect(here.claim(ref)).rejects.toMatchObject({ code: 'STORE_BUSY', exitCode: 75 })
    await there.ask({ do: 'giveBack', hold })
    const mine = await here.claim(ref)
    await expect(there.ask({ do: 'claim', ref })).rejects.toMatchObject({ code: 'STORE_BUSY' })
    await mine.acknowledge()
    await expect(there.ask({ do: 'claim', ref })).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })

  it('the claim of a killed process is taken over, by one of several', async () => {
    const { here, there, options } = await both()
    const { ref } = await put(here, s0, 1)
    await there.ask({ do: 'claim', ref })
    await there.kill()
    const others = [here, await open(options), await open(options)]
    const outcomes = await Promise.allSettled(others.map((store) => store.claim(ref)))
    const won = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    expect(won).toHaveLength(1)
    await won[0]?.acknowledge()
    await expect(here.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })
}

function describeFencing({ both, put }: Clients): void {
  it('a process that was taken for dead and wakes up can neither put nor acknowledge nor claim', async () => {
    const { here, there } = await both()
    const { ref } = await put(here, s0, 1)
    const { hold = 0 } = await there.ask({ do: 'claim', ref })
    there.signal('SIGSTOP')
    const late = [
      there.ask({ do: 'put', sampleId: s1, seed: 2 }),
      there.ask({ do: 'acknowledge', hold }),
      there.ask({ do: 'claim', ref }),
    ]
    const outcomes = Promise.allSettled(late)
    await here.fence(there.memberId)
    const mine = await here.claim(ref)
    there.signal('SIGCONT')
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'STORE_BUSY' } })
    const { digests } = await put(here, s1, 3)
    expect(digests).toBeDefined()
    await mine.acknowledge()
  })
}

async function using(lease: Lease, use: (lease: Lease) => Promise<void>): Promise<void> {
  await using held = lease
  await use(held)
}

type Clients = ReturnType<typeof bench>

function bench(subject: SharedSubject) {
  checkHandlesAfterEach()
  const opened: AsyncDisposable[] = []
  afterEach(async () => {
    for (const each of opened.splice(0)) await each[Symbol.asyncDispose]()
  })
  const open = async (options: Omit<SharedDirStoreOptions, 'python'>) => {
    const store = await subject.open(options)
    opened.push(store)
    return store
  }
  return {
    open,
    /** One client here and one in another process. */
    async both(changes: { readonly retain?: boolean } = {}) {
      const options = { ...(await subject.place()), ...changes }
      const here = await open(options)
      const there = await StoreProcess.open(options)
      opened.push(there)
      return { here, there, options }
    },
    /** The ref, and the digests of what was given: those of the ref are masked under seal. */
    async put(by: FeatureStore | StoreProcess, sampleId: typeof s0, seed: number) {
      if (by instanceof StoreProcess) {
        const { ref, digests } = await by.ask({ do: 'put', sampleId, seed })
        if (ref === undefined) throw new Error('a put without a ref')
        return { ref, digests }
      }
      await using source = await sample(seed)
      return { ref: await by.put(sampleId, source, about), digests: await digestsOf(source) }
    },
  }
}
