import { mkdir, readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { errnoName } from '../../src/core/errors.ts'
import { askAgain } from '../../src/core/files/ask-again.ts'
import { removeEmptyFolder, replaceEmptyFolder } from '../../src/core/files/whole-folders.ts'
import { claimFolder } from '../../src/core/liveness/folder-claim.ts'
import { DirectoryCoordination } from '../../src/store/coordination/directory/directory-coordination.ts'
import { StagingFolder } from '../../src/store/coordination/directory/staging-folder.ts'
import { publish } from '../../src/store/directory/durable.ts'
import { nameCallsFor } from '../../src/store/directory/name-calls.ts'
import { attachRoot } from '../../src/store/directory/store-root.ts'
import { describeOnFuse, mounted, mounts } from './mounted.ts'

const open = async (root: string) => {
  const client = new DirectoryCoordination(await attachRoot(root, { create: true }))
  await client.enter()
  return client
}

describeOnFuse('names that this machine has cached', () => {
  const twoMachines = async () => {
    const [here = '', there = ''] = await mounts('cached', 2)
    return { here, there, calls: await nameCallsFor(here) }
  }

  it('the kernel believes them, or these tests prove nothing', async () => {
    const { here, there } = await twoMachines()
    await writeFile(`${here}/file`, 'x')
    await unlink(`${there}/file`)
    expect((await stat(`${here}/file`)).size).toBe(1)
    await expect(stat(`${here}/new`)).rejects.toMatchObject({ code: 'ENOENT' })
    await writeFile(`${there}/new`, 'x')
    await expect(stat(`${here}/new`)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('do not answer for the server: what was made and removed elsewhere is seen at once', async () => {
    const { here, there, calls } = await twoMachines()
    expect(await calls.sees(`${here}/file`)).toBe(false)
    await writeFile(`${there}/file`, 'x')
    expect(await calls.sees(`${here}/file`)).toBe(true)
    await unlink(`${there}/file`)
    expect(await calls.sees(`${here}/file`)).toBe(false)
    expect(await readdir(here)).toEqual([])
  })

  it('do not make a removed file one that is held', async () => {
    const { here, there, calls } = await twoMachines()
    await mkdir(`${here}/own`)
    await writeFile(`${here}/file`, 'x')
    expect(await calls.holds(`${here}/file`, `${here}/own/aside`)).toBe(true)
    await unlink(`${there}/file`)
    expect(await calls.holds(`${here}/file`, `${here}/own/aside`)).toBe(false)
    expect(await readdir(`${here}/own`)).toEqual([])
    await rm(`${there}/own`, { recursive: true })
    await expect(calls.holds(`${here}/file`, `${here}/own/aside`)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('do not make a new file one that is gone, for who holds it or removes it, nor one in a new folder', async () => {
    const { here, there, calls } = await twoMachines()
    const staging = new StagingFolder(here, 'own')
    await staging.make(async () => undefined)
    await expect(stat(`${here}/file`)).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(stat(`${here}/shard`)).rejects.toMatchObject({ code: 'ENOENT' })
    await mkdir(`${there}/shard`)
    for (const name of ['file', 'shard/file']) {
      await writeFile(`${there}/${name}`, 'four')
      expect([name, await calls.holds(`${here}/${name}`, `${here}/own/aside`)]).toEqual([name, true])
    }
    await expect(stat(`${here}/other`)).rejects.toMatchObject({ code: 'ENOENT' })
    await writeFile(`${there}/other`, 'four')
    expect(await staging.removeThrough(`${here}/other`)).toBe(4)
    expect(await readdir(there)).not.toContain('other')
  })

  it('do not keep a replaced text', async () => {
    const [here = '', there = ''] = await mounts('cached', 2)
    const [mine, theirs] = [await open(`${here}/store`), await open(`${there}/store`)]
    await mine.notes.write('space/usage', 'one')
    expect(await mine.notes.read('space/usage')).toBe('one')
    await theirs.notes.write('space/usage', 'two')
    expect(await mine.notes.read('space/usage')).toBe('two')
    expect(await theirs.notes.remove('space/usage')).toBe(true)
    expect(await mine.notes.rewrite('space/usage', 'not')).toBe(false)
  })

  it('do not keep a claim: who was fenced a moment ago does not hold it any more', async () => {
    const [here = '', there = ''] = await mounts('cached', 2)
    await using claim = await claimFolder(here, 'train')
    await claim.assertHeld()
    const [folder = ''] = (await readdir(there)).filter((name) => name.includes('.holder.'))
    await rename(path.join(there, folder), `${there}/aside`)
    await rm(`${there}/aside`, { recursive: true })
    await expect(claim.assertHeld()).rejects.toMatchObject({ code: 'STORE_BUSY' })
  })
})

describeOnFuse('a file system that does not say ENOTEMPTY', () => {
  it.each(['permForNotEmpty', 'accessForNotEmpty'] as const)(
    '%s: a folder with something in it stays',
    async (mood) => {
      const dir = await mounted(mood)
      for (const name of ['prepared', 'full', 'empty']) await mkdir(path.join(dir, name))
      await writeFile(`${dir}/full/holder`, '')
      expect(await replaceEmptyFolder(`${dir}/prepared`, `${dir}/full`)).toBe(false)
      expect(await removeEmptyFolder(`${dir}/full`)).toBe(false)
      expect(await readdir(`${dir}/full`)).toEqual(['holder'])
      expect(await replaceEmptyFolder(`${dir}/prepared`, `${dir}/empty`)).toBe(true)
      expect(await removeEmptyFolder(`${dir}/empty`)).toBe(true)
    },
  )

  it('a claim that is taken is STORE_BUSY', async () => {
    const dir = await mounted('permForNotEmpty')
    await using claim = await claimFolder(dir, 'train')
    await expect(claimFolder(dir, 'train')).rejects.toMatchObject({ code: 'STORE_BUSY' })
    await claim.assertHeld()
  })
})

describeOnFuse('other moods', () => {
  it('without hard links a store is refused when it is opened, by name', async () => {
    const dir = await mounted('noLinks')
    const opening = open(path.join(dir, 'store'))
    await expect(opening).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', retryable: true })
    await expect(opening).rejects.toThrow('no hard links')
  })

  it('inode numbers that differ only beyond 2^53 are two files', async () => {
    const dir = await mounted('bigInodes')
    const byNumber = new Map<number, string>()
    for (let at = 0; ; at += 1) {
      const file = path.join(dir, String(at))
      await writeFile(file, '')
      const { ino } = await stat(file)
      const twin = byNumber.get(ino)
      byNumber.set(ino, file)
      if (twin === undefined) continue
      await rename(twin, `${dir}/one`)
      await rename(file, `${dir}/two`)
      break
    }
    expect(await publish(`${dir}/one`, `${dir}/final`)).toBe(true)
    expect(await publish(`${dir}/two`, `${dir}/final`)).toBe(false)
    expect(await publish(`${dir}/one`, `${dir}/final`)).toBe(true)
  })

  it('a rename or link whose answer was lost counts for who made it, and for nobody else', async () => {
    const [here = '', there = ''] = await mounts('lostAnswers', 2)
    const [mine, theirs] = [await open(`${here}/store`), await open(`${there}/store`)]
    for (const round of [1, 2, 3, 4]) {
      expect(await mine.notes.createAlone(`claims/k${round}/mine`, '')).toBe(true)
      expect(await theirs.notes.createAlone(`claims/k${round}/theirs`, '')).toBe(false)
      expect(await mine.sign(`claims/signed${round}`)).toBe(true)
      expect(await theirs.sign(`claims/signed${round}`)).toBe(false)
      expect(await mine.notes.create(`epochs/${round}`, 'mine')).toBe(true)
      expect(await theirs.notes.create(`epochs/${round}`, 'theirs')).toBe(false)
    }
  })

  it('ESTALE is asked again, and is an error when it stays', async () => {
    const dir = await mounted('staleReads')
    await writeFile(`${dir}/a.safetensors`, 'text')
    const read = () => readFile(`${dir}/a.safetensors`, 'utf8')
    let failures = 0
    for (const _ of Array(20)) {
      await read().catch(() => {
        failures += 1
      })
      expect(await askAgain(read)).toBe('text')
    }
    expect(failures).toBeGreaterThan(0)
    const always = await mounted('staleAlways')
    await writeFile(`${always}/a.safetensors`, 'text')
    const error: unknown = await askAgain(() => readFile(`${always}/a.safetensors`)).catch((failed: unknown) => failed)
    expect(errnoName(error)).toBe('ESTALE')
  })

  it('a note that cannot be read for ESTALE is not a missing one: its holder is not dead', async () => {
    const client = await open(path.join(await mounted('staleAlways'), 'store'))
    // The mood is for files of this name.
    await client.notes.write('members/a.safetensors', 'text')
    await expect(client.notes.read('members/a.safetensors')).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      details: { found: 'ESTALE from read' },
    })
    await client.notes.remove('members/a.safetensors')
    expect(await client.notes.read('members/a.safetensors')).toBeNull()
  })
})
