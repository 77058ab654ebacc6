import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { DirectoryNotes } from '../../../src/store/coordination/directory/directory-notes.ts'
import { MemoryNotes } from '../../../src/store/coordination/memory/memory-notes.ts'
import type { Notes } from '../../../src/store/coordination/notes.ts'
import { parseUsage } from '../../../src/store/space/usage-note.ts'
import { FakePeers, memberIn, ObjectsInMemory } from '../../support/fake-space.ts'
import { tempDir } from '../../support/temp-dir.ts'

const kinds: Readonly<Record<string, () => Promise<Notes>>> = {
  local: async () => new MemoryNotes(),
  'shared-dir': async () => {
    const root = await tempDir()
    for (const name of ['staging', 'notes']) await mkdir(path.join(root, name))
    return new DirectoryNotes(path.join(root, 'notes'), path.join(root, 'staging'))
  },
}

const over = { code: 'STORE_OVER_BUDGET', exitCode: 75, retryable: true }

describe.each(Object.entries(kinds))('space on the notes of %s', (_, notesOf) => {
  const world = async () => ({ notes: await notesOf(), objects: new ObjectsInMemory(), peers: new FakePeers() })
  const onTheBooks = async (notes: Notes) => parseUsage((await notes.read('space/usage')) ?? '')

  it('refuses what does not fit, names usage, quota and need, and changes nothing', async () => {
    const shared = await world()
    const { put, book } = await memberIn(shared, 100)
    await put('a', 60)
    await expect(put('b', 41)).rejects.toMatchObject(over)
    await expect(put('b', 41)).rejects.toThrow(/needs 41 bytes; 60 of 100/)
    expect([shared.objects.total, await book.usage()]).toEqual([60, { bytes: 60, quota: 100 }])
    await put('b', 40)
    expect((await onTheBooks(shared.notes))?.reserved).toEqual({})
  })

  it('never lists the store for a put that fits', async () => {
    const shared = await world()
    const { put, remove } = await memberIn(shared, 1000)
    const begun = shared.objects.listings
    for (let index = 0; index < 20; index += 1) await put(`a${index}`, 10)
    for (let index = 0; index < 20; index += 1) await remove(`a${index}`, 10)
    for (let index = 0; index < 20; index += 1) await put(`b${index}`, 50)
    expect(shared.objects.listings).toBe(begun)
  })

  it('never exceeds the quota with many clients that put and free at once', async () => {
    const shared = await world()
    const clients = await Promise.all(Array.from({ length: 6 }, () => memberIn(shared, 500)))
    let refused = 0
    await Promise.all(
      clients.map(async (client, seat) => {
        for (let index = 0; index < 12; index += 1) {
          const name = `${seat}.${index}`
          const done = await client.put(name, 40).then(
            () => true,
            () => false,
          )
          if (!done) refused += 1
          else if (index % 3 === 0) await client.remove(name, 40)
        }
      }),
    )
    expect(refused).toBeGreaterThan(0)
    expect(shared.objects.peak).toBeLessThanOrEqual(500)
    const { bytes, reserved } = (await onTheBooks(shared.notes)) ?? {}
    expect(reserved).toEqual({})
    expect(bytes).toBeGreaterThanOrEqual(shared.objects.total)
    // All that fits fits: what the books had too much is found before a refusal.
    const [first] = clients
    for (let left = 500 - shared.objects.total, index = 0; left >= 40; left -= 40)
      await first?.put(`last${index++}`, 40)
    expect(500 - shared.objects.total).toBeLessThan(40)
  })

  it('counts what it grants to puts that ask at the same time', async () => {
    const shared = await world()
    const { put, book } = await memberIn(shared, 100)
    const puts = await Promise.allSettled([0, 1, 2, 3, 4].map((index) => put(`a${index}`, 40)))
    expect(puts.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    expect([shared.objects.peak, await book.usage()]).toEqual([80, { bytes: 80, quota: 100 }])
  })

  it('keeps room for what is being put, until it is cancelled', async () => {
    const shared = await world()
    const [one, other] = [await memberIn(shared, 100), await memberIn(shared, 100)]
    const reservation = await one.book.reserve(80)
    await expect(other.put('b', 30)).rejects.toMatchObject(over)
    await reservation.cancel()
    await other.put('b', 30)
    expect(await other.book.usage()).toEqual({ bytes: 30, quota: 100 })
  })

  it('counts what an object really takes up, not what was reserved', async () => {
    const shared = await world()
    const { put, book } = await memberIn(shared, 100)
    await put('a', 50, 70)
    expect((await book.usage()).bytes).toBe(50)
  })

  it('begins with what is there, and then counts what is put without a quota too', async () => {
    const shared = await world()
    const free = await memberIn(shared, null)
    await free.put('old', 30)
    expect(await onTheBooks(shared.notes)).toBeNull()
    const bound = await memberIn(shared, 100)
    expect((await bound.book.usage()).bytes).toBe(30)
    await free.put('new', 60)
    expect((await bound.book.usage()).bytes).toBe(90)
    await expect(bound.put('more', 11)).rejects.toMatchObject(over)
    await free.put('above', 20)
    await free.remove('old', 30)
    expect(await onTheBooks(shared.notes)).toMatchObject({ bytes: 80, quota: 100, reserved: {} })
  })

  it('counts a put that was under way without accounting when the accounting began', async () => {
    const shared = await world()
    const free = await memberIn(shared, null)
    const reservation = await free.book.reserve(60)
    const bound = await memberIn(shared, 100)
    await shared.objects.add('a', 60)
    await reservation.commit(60)
    await expect(bound.put('b', 50)).rejects.toMatchObject(over)
  })

  it('gives back what a dead member had reserved, and fences it first', async () => {
    const shared = await world()
    const [dead, alive] = [await memberIn(shared, 100), await memberIn(shared, 100)]
    await dead.book.reserve(80)
    shared.peers.gone.add(dead.memberId)
    await alive.put('a', 90)
    expect(shared.peers.fenced).toEqual([dead.memberId])
    expect((await onTheBooks(shared.notes))?.reserved).toEqual({})
  })

  it('never fences itself, whatever its peers say of it', async () => {
    const shared = await world()
    const { book, memberId, put } = await memberIn(shared, 100)
    await book.reserve(30)
    shared.peers.gone.add(memberId)
    await book.recount()
    await put('a', 70)
    expect(shared.peers.fenced).toEqual([])
  })

  it('takes over the lock of a dead member', async () => {
    const shared = await world()
    const { put } = await memberIn(shared, 100)
    await shared.notes.createAlone('space/lock/dead', '')
    shared.peers.gone.add('dead')
    await put('a', 10)
    expect(shared.peers.fenced).toEqual(['dead'])
    expect(await shared.notes.list('space/lock')).toEqual([])
  })

  it('holds too much, never too little, when somebody recounts between a removal and its entry', async () => {
    const shared = await world()
    const [one, other] = [await memberIn(shared, 100), await memberIn(shared, 100)]
    for (const name of ['a', 'b']) await one.put(name, 50)
    const freed = one.book.freeing()
    await shared.objects.remove('a')
    await other.put('c', 50)
    await freed(50)
    expect((await one.book.usage()).bytes).toBeGreaterThanOrEqual(shared.objects.total)
    await expect(one.put('d', 1)).rejects.toMatchObject(over)
  })

  it('counts again when the note is damaged or gone', async () => {
    const shared = await world()
    const { put, book } = await memberIn(shared, 100)
    await put('a', 70)
    await shared.notes.write('space/usage', '{"version":1,"by')
    await expect(put('b', 31)).rejects.toMatchObject(over)
    await shared.notes.remove('space/usage')
    await put('b', 30)
    expect((await book.usage()).bytes).toBe(100)
  })

  it('finds on request what was lost, also from a member without quota', async () => {
    const shared = await world()
    const { put } = await memberIn(shared, 100)
    await put('a', 70)
    await shared.objects.remove('a')
    const other = await memberIn(shared, null)
    await other.book.recount()
    expect(await other.book.usage()).toEqual({ bytes: 0, quota: 100 })
  })
})
