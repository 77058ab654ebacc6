import { readdirSync, renameSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { PublishingFolder, takeAway } from '../../../src/core/liveness/publishing-folder.ts'
import { tempDir } from '../../support/temp-dir.ts'

async function folder() {
  const dir = await tempDir()
  const own = new PublishingFolder(path.join(dir, 'own'))
  await own.make()
  return { dir, own, aside: path.join(dir, 'fenced.own') }
}

it('publishes whole files, until it is taken away', async () => {
  const { dir, own, aside } = await folder()
  await own.publish('a', path.join(dir, 'a'), 'first')
  expect(await readFile(path.join(dir, 'a'), 'utf8')).toBe('first')
  await writeFile(own.file('half'), 'half')
  await takeAway(own.dir, aside)
  expect(await own.isThere()).toBe(false)
  await expect(own.publish('a', path.join(dir, 'a'), 'second')).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(rename(own.file('half'), path.join(dir, 'b'))).rejects.toMatchObject({ code: 'ENOENT' })
  expect(await readdir(dir)).toEqual(['a'])
})

it('is made once', async () => {
  const { own } = await folder()
  await expect(own.make()).rejects.toMatchObject({ code: 'EEXIST' })
})

it('takes public folders away in one step, until it is taken away itself', async () => {
  const { dir, own, aside } = await folder()
  for (const name of ['one', 'two']) {
    await mkdir(path.join(dir, name))
    await writeFile(path.join(dir, name, 'file'), 'x')
  }
  await own.withdraw(path.join(dir, 'one'))
  await own.withdraw(path.join(dir, 'one'))
  expect((await readdir(dir)).sort()).toEqual(['own', 'two'])
  await takeAway(own.dir, aside)
  await expect(own.withdraw(path.join(dir, 'two'))).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(own.withdraw(path.join(dir, 'one'))).rejects.toMatchObject({ code: 'ENOENT' })
  expect(await readdir(path.join(dir, 'two'))).toEqual(['file'])
})

it('publishes no part of a folder while it is fenced, though a machine has cached it', async () => {
  const { dir, own, aside } = await folder()
  await mkdir(own.file('deep'))
  for (let file = 0; file < 500; file += 1) await writeFile(own.file(`deep/${file}`), 'x')
  // Through the open folder, as a machine does that knows it by its handle and not by its name.
  const handle = await open(own.dir, 'r')
  const deep = `/proc/self/fd/${handle.fd}/deep`
  const late = async () => {
    // Without the pool of threads, where it would wait until all is removed.
    while (readdirSync(deep).length === 500) await new Promise((resolve) => setImmediate(resolve))
    renameSync(deep, path.join(dir, 'out'))
  }
  const [fenced, published] = await Promise.allSettled([takeAway(own.dir, aside), late()])
  await handle.close()
  expect(fenced).toMatchObject({ status: 'fulfilled' })
  expect(published).toMatchObject({ status: 'rejected', reason: { code: 'ENOENT' } })
  expect(await readdir(dir)).toEqual([])
})

it('is fenced by several at once, each of which returns when nothing is left', async () => {
  const { dir, own, aside } = await folder()
  await mkdir(own.file('deep'))
  for (let file = 0; file < 50; file++) await writeFile(own.file(`deep/${file}`), 'x')
  await Promise.all(
    [1, 2, 3].map(async () => {
      await takeAway(own.dir, aside)
      expect(await readdir(dir)).toEqual([])
    }),
  )
})

it('is fenced to the end by the next one, when a fence was cut short', async () => {
  const { dir, own, aside } = await folder()
  await writeFile(own.file('left'), 'x')
  await rename(own.dir, aside)
  await takeAway(own.dir, aside)
  expect(await readdir(dir)).toEqual([])
})

it('that is gone together with the folder above it was not taken away: a mount is gone', async () => {
  const { dir, own } = await folder()
  await rm(dir, { recursive: true })
  await expect(own.isThere()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', details: { file: dir } })
})
