import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { BLOB_FOLDERS } from '../../../src/store/blobs/directory/directory-blobs.ts'
import { attachRoot } from '../../../src/store/directory/store-root.ts'
import { tempDir } from '../../support/temp-dir.ts'

let root = ''
const freshRoot = async () => {
  root = path.join(await tempDir(), 'store')
}

it('is made once, with one id, however many make it at once', async () => {
  await freshRoot()
  const roots = await Promise.all(Array.from({ length: 16 }, () => attachRoot(root, { create: true, ...BLOB_FOLDERS })))
  expect(new Set(roots.map((each) => each.id)).size).toBe(1)
  expect((await readdir(root)).sort()).toEqual(['notes', 'objects', 'quarantine', 'staging', 'store.json'])
  expect(await readdir(path.join(root, 'staging'))).toEqual([])
  expect(await attachRoot(root, { create: false, ...BLOB_FOLDERS })).toEqual(roots[0])
})

describe('a directory that is not a store as we know it', () => {
  const attach = (create = true) => attachRoot(root, { create, ...BLOB_FOLDERS })
  const unavailable = (details: object) => ({ code: 'STORE_UNAVAILABLE', exitCode: 69, details })

  it('is refused when it is not there and must not be created', async () => {
    await freshRoot()
    const missing = unavailable({ file: root, found: 'no such directory', fix: expect.stringContaining('producer') })
    await expect(attach(false)).rejects.toMatchObject(missing)
    await mkdir(root)
    await expect(attach(false)).rejects.toMatchObject(unavailable({ found: 'no store.json in it' }))
    expect(await readdir(root)).toEqual([])
  })

  it('is refused when it was made by a newer version', async () => {
    await freshRoot()
    await attach()
    const file = path.join(root, 'store.json')
    await writeFile(file, JSON.stringify({ formatVersion: 2, storeId: 'x', more: {} }))
    const found = '2; supported is 1'
    await expect(attach()).rejects.toMatchObject(unavailable({ file, field: 'formatVersion', found }))
  })

  it.each(['', '{', '[]', '{"formatVersion":1}', '{"formatVersion":1,"storeId":"../x"}', 'x'.repeat(70_000)])(
    'is refused when store.json is %j',
    async (text) => {
      await freshRoot()
      await attach()
      await writeFile(path.join(root, 'store.json'), text)
      await expect(attach()).rejects.toMatchObject(unavailable({ file: path.join(root, 'store.json') }))
    },
  )

  it.each(['objects', 'staging', 'quarantine', 'notes'])('is refused when %s is a symbolic link', async (name) => {
    await freshRoot()
    await attach()
    await rm(path.join(root, name), { recursive: true })
    await symlink(await tempDir(), path.join(root, name))
    const details = { file: path.join(root, name), found: 'a symbolic link' }
    await expect(attach()).rejects.toMatchObject(unavailable(details))
  })
})
