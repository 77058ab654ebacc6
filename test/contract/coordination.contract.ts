import { describe, expect, it } from 'vitest'
import type { Coordination } from '../../src/store/coordination/coordination.ts'

/** Clients of one new store. */
export type OpenClients = (count: number) => Promise<readonly Coordination[]>

/** What every `Coordination` must give: names that are taken once, and members that a fence stops. */
export function describeCoordination(name: string, open: OpenClients): void {
  const entered = async () => {
    const [here, there] = await open(2)
    if (here === undefined || there === undefined) throw new Error('too few clients')
    for (const each of [here, there]) await each.enter()
    return { here, there }
  }

  describe(`${name}: coordination`, () => {
    it('gives each client an id of its own', async () => {
      const ids = (await open(3)).map((client) => client.memberId)
      expect(new Set(ids).size).toBe(3)
      for (const id of ids) expect(id).toMatch(/^m[0-9a-f]{16}$/)
    })

    it('publishes a name once, for everybody', async () => {
      const { here, there } = await entered()
      const outcomes = await Promise.all([here, there].map((each) => each.publish('blobs/k', each.memberId)))
      expect(outcomes.filter((won) => won)).toHaveLength(1)
      const winner = outcomes[0] ? here : there
      for (const each of [here, there]) expect(await each.notes.read('blobs/k')).toBe(winner.memberId)
    })

    it('withdraws what is there, once, and then the name is free again', async () => {
      const { here, there } = await entered()
      await here.publish('blobs/k', 'x')
      const outcomes = await Promise.all([here, there].map((each) => each.withdraw('blobs/k')))
      expect(outcomes.filter((won) => won)).toHaveLength(1)
      expect(await here.notes.has('blobs/k')).toBe(false)
      expect(await there.publish('blobs/k', 'y')).toBe(true)
    })

    it('signs a name once, for everybody, and says again that it is its own', async () => {
      const { here, there } = await entered()
      const outcomes = await Promise.all([here, there].map((each) => each.sign('claims/k')))
      expect(outcomes.filter((won) => won)).toHaveLength(1)
      const [winner, loser] = outcomes[0] ? [here, there] : [there, here]
      for (const each of [here, there]) expect(await each.notes.read('claims/k')).toBe(winner.memberId)
      expect([await winner.sign('claims/k'), await loser.sign('claims/k')]).toEqual([true, false])
      expect([await loser.signAway('claims/k:1'), await winner.signAway('claims/k:1')]).toEqual([true, false])
      expect([await winner.sign('claims/k:1'), await winner.signAway('claims/k')]).toEqual([false, false])
      for (const each of [here, there]) expect(await each.notes.read('claims/k:1')).toBe('nobody')
      await here.notes.create('leases/k/m1', '')
      expect(await here.sign('leases/k')).toBe(false)
    })

    // A file system may limit how many names a file has: GlusterFS on ext4 to 46.
    it('signs many names, also at the same time', async () => {
      const { here, there } = await entered()
      const names = Array.from({ length: 70 }, (_, index) => `claims/k${index}`)
      expect(new Set(await Promise.all(names.map((name) => here.sign(name))))).toEqual(new Set([true]))
      for (const name of names.slice(-3)) expect([name, await there.sign(name)]).toEqual([name, false])
    })

    it('lets a fenced member publish and withdraw nothing, and keeps what it published before', async () => {
      const { here, there } = await entered()
      await there.publish('blobs/before', 'x')
      await here.fence(there.memberId)
      await here.fence(there.memberId)
      await expect(there.publish('blobs/after', 'x')).rejects.toThrow()
      for (const name of ['before', 'after']) await expect(there.publishOver(`blobs/${name}`, 'x')).rejects.toThrow()
      await expect(there.withdraw('blobs/before')).rejects.toThrow()
      expect(await here.notes.list('blobs')).toEqual(['before'])
      expect(await here.withdraw('blobs/before')).toBe(true)
    })

    it('stops a member that is publishing while it is fenced, or lets it publish whole', async () => {
      for (let round = 0; round < 20; round++) {
        const { here, there } = await entered()
        const publishing = there.publish('blobs/k', 'whole').catch(() => false)
        for (let turn = 0; turn < round % 5; turn++) await new Promise((resolve) => setImmediate(resolve))
        await here.fence(there.memberId)
        const found = await here.notes.read('blobs/k')
        expect(await publishing).toBe(found === 'whole')
        expect(await here.notes.read('blobs/k')).toBe(found)
      }
    })

    it('lets a member that has left publish nothing', async () => {
      const { here, there } = await entered()
      await there.leave()
      await expect(there.publish('blobs/k', 'x')).rejects.toThrow()
      expect(await here.publish('blobs/k', 'y')).toBe(true)
    })
  })
}
