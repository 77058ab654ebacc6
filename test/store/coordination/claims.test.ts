import { afterEach, describe, expect, it, vi } from 'vitest'
import { finding } from '../../../src/core/errors.ts'
import { Generation, SampleId } from '../../../src/core/ids.ts'
import { Claims } from '../../../src/store/coordination/claims.ts'
import type { Coordination } from '../../../src/store/coordination/coordination.ts'
import { Members } from '../../../src/store/coordination/members.ts'
import { MemoryCoordination, SharedFacts } from '../../../src/store/coordination/memory/memory-coordination.ts'

const key = { sampleId: SampleId.parse('run:a'), generation: Generation.parse(7) }
const unavailable = () => finding('STORE_UNAVAILABLE', 'the mount is gone', { found: 'EIO' })

afterEach(() => {
  vi.useRealTimers()
})

/** Two clients of one store; `broken` replaces calls of the first one. */
async function clients(broken: (coordination: Coordination) => Partial<Coordination> = () => ({})) {
  const facts = new SharedFacts()
  const client = async (change: (coordination: Coordination) => Partial<Coordination>) => {
    const own = new MemoryCoordination(facts)
    const changed = change(own)
    const call = <K extends keyof Coordination>(name: K) => changed[name] ?? own[name]
    const coordination = new Proxy(own, {
      get: (_, name) => {
        const value = call(name as keyof Coordination)
        return typeof value === 'function' && !(name in changed) ? value.bind(own) : value
      },
    })
    const members = new Members(coordination)
    await members.join()
    return new Claims(coordination, members)
  }
  return { mine: await client(broken), theirs: await client(() => ({})), facts }
}

describe('claims', () => {
  it('an acknowledgement counts whose answer was lost: nobody can claim the sample again', async () => {
    const { mine, theirs } = await clients((own) => ({
      publishOver: async (name, text) => {
        await own.publishOver(name, text)
        throw unavailable()
      },
    }))
    expect(await mine.take(key)).toBe('ours')
    await expect(mine.acknowledge(key)).rejects.toThrow('mount is gone')
    expect(await mine.giveBack(key)).toBe(false)
    expect([await mine.take(key), await theirs.take(key)]).toEqual(['gone', 'gone'])
  })

  it('what could not be given back is given back later', async () => {
    vi.useFakeTimers()
    let isBroken = true
    const { mine, theirs } = await clients((own) => ({
      signAway: async (name) => {
        if (isBroken) throw unavailable()
        return own.signAway(name)
      },
    }))
    await mine.take(key)
    await expect(mine.giveBack(key)).rejects.toThrow('mount is gone')
    await expect(theirs.take(key)).rejects.toMatchObject({ code: 'STORE_BUSY' })
    expect(mine.size).toBe(1)
    isBroken = false
    await vi.advanceTimersByTimeAsync(5000)
    expect([mine.size, await theirs.take(key)]).toEqual([0, 'ours'])
  })

  it('a claim that may stand after an error is given back', async () => {
    let isBroken = true
    const { mine, theirs } = await clients((own) => ({
      sign: async (name) => {
        const made = await own.sign(name)
        if (!isBroken) return made
        isBroken = false
        throw unavailable()
      },
    }))
    await expect(mine.take(key)).rejects.toThrow('mount is gone')
    expect([mine.size, await theirs.take(key)]).toEqual([0, 'ours'])
  })

  it('an attempt that failed gives back nothing of somebody else', async () => {
    let isBroken = true
    const { mine, theirs } = await clients((own) => ({
      sign: (name) => {
        if (!isBroken) return own.sign(name)
        isBroken = false
        throw unavailable()
      },
    }))
    await theirs.take(key)
    await expect(mine.take(key)).rejects.toThrow('mount is gone')
    await expect(mine.take(key)).rejects.toMatchObject({ code: 'STORE_BUSY' })
    expect(await theirs.acknowledge(key)).toBe(true)
  })

  it('two claims of one process on a sample come one after the other', async () => {
    const { mine } = await clients()
    const both = await Promise.allSettled([mine.take(key), mine.take(key)])
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  it('no claim of another member is taken for lost or for free after many turns', async () => {
    const { mine, theirs, facts } = await clients()
    for (let round = 0; round < 3; round += 1) {
      for (const claims of [mine, theirs]) {
        expect(await claims.take(key)).toBe('ours')
        await expect((claims === mine ? theirs : mine).take(key)).rejects.toMatchObject({ code: 'STORE_BUSY' })
        expect(await claims.giveBack(key)).toBe(true)
      }
    }
    await mine.take(key)
    await mine.end(key)
    expect(await facts.notes.list('claims')).toEqual([])
  })
})
