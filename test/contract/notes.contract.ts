import { describe, expect, it } from 'vitest'
import type { Notes } from '../../src/store/coordination/notes.ts'

/** What every `Notes` must give; see its comments. */
export function describeNotes(name: string, open: () => Promise<Notes>): void {
  describe(`${name}: notes`, () => {
    it('creates a name once, whole', async () => {
      const notes = await open()
      const outcomes = await Promise.all(['a', 'b', ''].map((text) => notes.create('x/k', text)))
      expect(outcomes.filter((won) => won)).toHaveLength(1)
      expect(await notes.read('x/k')).toBe(['a', 'b', ''][outcomes.indexOf(true)])
      expect([await notes.has('x/k'), await notes.has('x/other'), await notes.read('x/other')]).toEqual([
        true,
        false,
        null,
      ])
    })

    it('creates alone only in a folder that holds nothing, however deep', async () => {
      const notes = await open()
      await notes.create('claims/k/deep/er', '')
      expect(await notes.createAlone('claims/k/m1', '')).toBe(false)
      await notes.remove('claims/k/deep/er')
      await notes.removeFolder('claims/k/deep')
      expect(await notes.createAlone('claims/k/m1', 'x')).toBe(true)
      expect(await notes.createAlone('claims/k/m2', 'y')).toBe(false)
      expect(await notes.list('claims/k')).toEqual(['m1'])
    })

    it('writes over what is there', async () => {
      const notes = await open()
      for (const text of ['one', 'two']) await notes.write('space/usage', text)
      expect(await notes.read('space/usage')).toBe('two')
    })

    it('moves a note in one step: of several that move it, one wins', async () => {
      const notes = await open()
      await notes.create('claims/k/m1', 'x')
      await notes.create('claims/k/m3', 'y')
      const outcomes = await Promise.all(['m2', 'm3'].map((to) => notes.move('claims/k/m1', `claims/k/${to}`)))
      expect(outcomes.filter((won) => won)).toHaveLength(1)
      expect(await notes.read(`claims/k/${outcomes[0] ? 'm2' : 'm3'}`)).toBe('x')
      expect(await notes.has('claims/k/m1')).toBe(false)
    })

    it('removes once, and a folder only when nothing is in it', async () => {
      const notes = await open()
      await notes.create('leases/k/m1', '')
      expect(await notes.removeFolder('leases/k')).toBe(false)
      expect([await notes.remove('leases/k/m1'), await notes.remove('leases/k/m1')]).toEqual([true, false])
      expect([await notes.removeFolder('leases/k'), await notes.removeFolder('leases/none')]).toEqual([true, true])
    })

    it('lists the names in a folder, of notes and folders, each once', async () => {
      const notes = await open()
      for (const each of ['a/x', 'a/y/z', 'a/y/w', 'b/x']) await notes.create(each, '')
      expect([...(await notes.list('a'))].sort()).toEqual(['x', 'y'])
      expect([...(await notes.list('a/y'))].sort()).toEqual(['w', 'z'])
      expect(await notes.list('none')).toEqual([])
    })

    it('rewrites what is there, and makes nothing', async () => {
      const notes = await open()
      expect(await notes.rewrite('members/m1', 'x1')).toBe(false)
      expect(await notes.read('members/m1')).toBeNull()
      await notes.write('members/m1', 'x1')
      expect(await notes.rewrite('members/m1', 'x2')).toBe(true)
      expect(await notes.read('members/m1')).toBe('x2')
    })

    it('enters; leaves, takes an empty folder along and says whether the sign is there', async () => {
      const notes = await open()
      for (const name of ['m1', 'm1', 'm2']) expect(await notes.enter(`leases/k/${name}`)).toBe(true)
      expect(await notes.leave('leases/k/m1', 'consumed/k')).toBe(false)
      await notes.create('consumed/k', '')
      expect(await notes.list('leases/k')).toEqual(['m2'])
      expect(await notes.leave('leases/k/m2', 'consumed/k')).toBe(true)
      expect(await notes.list('leases')).toEqual([])
    })

    it('a name is a note or a folder: of one that becomes the note and one that enters the folder, one succeeds', async () => {
      const notes = await open()
      for (let round = 0; round < 20; round += 1) {
        const name = `leases/k${round}`
        const [noted, entered] = await Promise.all([notes.create(name, ''), notes.enter(`${name}/m1`)])
        expect([noted, entered].filter((won) => won)).toHaveLength(1)
        expect(await notes.isNote(name)).toBe(noted)
        expect(await notes.list(name)).toEqual(entered ? ['m1'] : [])
        expect(await notes.create(name, '')).toBe(false)
        expect(await notes.enter(`${name}/m2`)).toBe(entered)
      }
      expect([await notes.isNote('leases/none'), await notes.isNote('leases')]).toEqual([false, false])
    })

    it('removes no folder as a note', async () => {
      const notes = await open()
      await notes.enter('leases/k/m1')
      expect(await notes.remove('leases/k')).toBe(false)
      expect(await notes.list('leases/k')).toEqual(['m1'])
    })
  })
}
