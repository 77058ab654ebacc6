import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { DirectoryNotes } from '../../../src/store/coordination/directory/directory-notes.ts'
import { claimEpoch } from '../../../src/store/coordination/epoch-claims.ts'
import { MemoryNotes } from '../../../src/store/coordination/memory/memory-notes.ts'
import type { Notes } from '../../../src/store/coordination/notes.ts'
import { tempDir } from '../../support/temp-dir.ts'

const kinds: Readonly<Record<string, () => Promise<Notes>>> = {
  local: async () => new MemoryNotes(),
  'shared-dir': async () => {
    const staging = await tempDir()
    const notes = path.join(staging, 'notes')
    await mkdir(notes)
    return new DirectoryNotes(notes, staging)
  },
}

describe.each(Object.entries(kinds))('epochs on the notes of %s', (_, open) => {
  it('gives every claim a number of its own, also when many claim at once', async () => {
    const notes = await open()
    const numbers: number[] = []
    for (let round = 0; round < 5; round++) {
      const epochs = await Promise.all(Array.from({ length: 10 }, () => claimEpoch(notes, 0)))
      numbers.push(...epochs.map((epoch) => epoch.number))
    }
    expect(new Set(numbers).size).toBe(numbers.length)
    expect((await notes.list('epochs')).map(Number)).toContain(Math.max(...numbers))
  })

  it('shows the owner of an older epoch that it is not the newest', async () => {
    const notes = await open()
    const first = await claimEpoch(notes, 0)
    expect(await first.newest()).toBe(true)
    const second = await claimEpoch(notes, 0)
    expect([await first.newest(), await second.newest()]).toEqual([false, true])
    expect(second.number).toBeGreaterThan(first.number)
  })

  it('does not take a note that another process made from an older listing for its own', async () => {
    const notes = await open()
    const first = await claimEpoch(notes, 0)
    const second = await claimEpoch(notes, 0)
    expect(second.number).toBe(first.number + 1)
    await notes.create(`epochs/${first.number}`, 'another')
    expect(await first.newest()).toBe(false)
  })

  it('claims a number above the given one, and keeps it as the greatest', async () => {
    const notes = await open()
    expect((await claimEpoch(notes, 500)).number).toBe(501)
    expect((await claimEpoch(notes, 0)).number).toBe(502)
    expect(await notes.list('epochs')).toEqual(['502'])
  })

  it('ignores names that are no epochs', async () => {
    const notes = await open()
    for (const name of ['README', '007', '1e9']) await notes.create(`epochs/${name}`, '')
    expect((await claimEpoch(notes, 0)).number).toBe(1)
    expect(await notes.list('epochs')).toHaveLength(4)
  })
})
