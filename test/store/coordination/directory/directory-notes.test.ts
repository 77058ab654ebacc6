import { mkdir, readdir, rename, stat, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { DirectoryNotes } from '../../../../src/store/coordination/directory/directory-notes.ts'
import { localCalls, nameCallsFor, nfsCalls, remoteCalls } from '../../../../src/store/directory/name-calls.ts'
import { tempDir } from '../../../support/temp-dir.ts'

let root = ''
beforeEach(async () => {
  root = await tempDir()
  await mkdir(path.join(root, 'notes'))
  await mkdir(path.join(root, 'staging'))
})

const ME = 'leases/k/m1'
const DONE = 'consumed/k'

describe.each([
  ['local', localCalls],
  ['remote', remoteCalls],
])('notes on a %s file system', (_, calls) => {
  const open = () => new DirectoryNotes(path.join(root, 'notes'), path.join(root, 'staging'), calls)

  it('enter puts the note, whatever is there already', async () => {
    const notes = open()
    for (const name of [ME, ME, 'leases/k/m2']) expect(await notes.enter(name)).toBe(true)
    expect(await notes.read(ME)).toBe('')
    expect([...(await notes.list('leases/k'))].sort()).toEqual(['m1', 'm2'])
  })

  it('link gives one file many names, each of which is taken once', async () => {
    const notes = open()
    const [mine, theirs] = ['mine', 'theirs'].map((name) => path.join(root, 'staging', name)) as [string, string]
    for (const file of [mine, theirs]) await writeFile(file, path.basename(file))
    for (const name of ['claims/a', 'claims/b']) expect(await notes.link(name, mine)).toBe(true)
    expect([await notes.link('claims/a', mine), await notes.link('claims/a', theirs)]).toEqual([true, false])
    expect(await notes.read('claims/b')).toBe('mine')
    await symlink(theirs, path.join(root, 'notes/claims/planted'))
    expect(await notes.link('claims/planted', theirs)).toBe(false)
  })

  it('leave removes the note and the folder that is empty then, and says whether the sign is there', async () => {
    const notes = open()
    expect(await notes.leave(ME, DONE)).toBe(false)
    for (const name of [ME, 'leases/k/m2']) await notes.enter(name)
    expect(await notes.leave(ME, DONE)).toBe(false)
    expect(await notes.list('leases/k')).toEqual(['m2'])
    await notes.create(DONE, '')
    expect(await notes.leave('leases/k/m2', DONE)).toBe(true)
    expect(await notes.list('leases')).toEqual([])
  })

  it('enter and leave get along with others that make and remove the same folder', async () => {
    const notes = open()
    const come = async (name: string) => {
      for (let round = 0; round < 50; round++) {
        await notes.enter(`leases/k/${name}`)
        expect(await notes.read(`leases/k/${name}`)).toBe('')
        await notes.leave(`leases/k/${name}`, DONE)
      }
    }
    await Promise.all(['m1', 'm2', 'm3'].map(come))
    expect(await notes.list('leases')).toEqual([])
  })

  it.each(['leases', 'leases/k', 'consumed'])('a link in the place of %s leads nowhere', async (part) => {
    const notes = open()
    await notes.enter(ME)
    await notes.create(DONE, '')
    const [inside, outside] = [path.join(root, 'notes', part), path.join(root, 'outside')]
    await rename(inside, outside)
    await symlink(outside, inside)
    const before = [await readdir(outside, { recursive: true }), (await stat(outside)).mtimeMs]
    const refused = { code: 'STORE_UNAVAILABLE' }
    if (part !== 'consumed') await expect(notes.enter('leases/k/m2')).rejects.toMatchObject(refused)
    await expect(notes.leave(ME, DONE)).rejects.toMatchObject(refused)
    expect([await readdir(outside, { recursive: true }), (await stat(outside)).mtimeMs]).toEqual(before)
  })
})

it('a look follows no link and tells nothing from something', async () => {
  const at = (name: string) => path.join(root, name)
  await writeFile(at('file'), '')
  await symlink(at('notes'), at('link'))
  for (const calls of [localCalls, remoteCalls, nfsCalls]) {
    expect(await calls.stat(at('none'))).toBeNull()
    expect(await calls.sees(at('none'))).toBe(false)
    expect(await calls.sees(at('file'))).toBe(true)
    for (const name of ['none', 'file']) await calls.refresh(at(name))
    expect(await calls.holds(at('none'), at('staging/aside'))).toBe(false)
    for (const name of ['file', 'link', 'notes']) expect(await calls.holds(at(name), at('staging/aside'))).toBe(true)
    expect(await readdir(at('staging'))).toEqual([])
    expect((await calls.stat(at('link')))?.isSymbolicLink()).toBe(true)
    await expect(calls.stat(at('file/below'))).rejects.toMatchObject({ code: 'ENOTDIR' })
    for (const make of [calls.makeFile, calls.makeFolder]) {
      for (const name of ['file', 'link']) await expect(make(at(name))).rejects.toMatchObject({ code: 'EEXIST' })
    }
  }
})

it('calls are made in the event loop on a local file system only', async () => {
  // On Linux /dev is a tmpfs; /proc stands for a file system that nobody knows to be local.
  expect(await nameCallsFor('/dev')).toBe(localCalls)
  expect(await nameCallsFor('/proc')).toBe(remoteCalls)
})
