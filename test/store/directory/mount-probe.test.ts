import { mkdir, readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { DirectoryCoordination } from '../../../src/store/coordination/directory/directory-coordination.ts'
import { mountOf } from '../../../src/store/directory/mount-of.ts'
import { probeMount } from '../../../src/store/directory/mount-probe.ts'
import { remoteCalls } from '../../../src/store/directory/name-calls.ts'
import { attachRoot } from '../../../src/store/directory/store-root.ts'
import { tempDir } from '../../support/temp-dir.ts'

describe('the probe of a file system', () => {
  it('finds nothing missing here, also between two processes, and leaves nothing behind', async () => {
    const dir = await tempDir()
    await probeMount(dir, true)
    expect(await readdir(dir)).toEqual([])
  })

  it('is recorded in the store, once for each mount', async () => {
    const root = await attachRoot(path.join(await tempDir(), 'store'), { create: true })
    const mounts = path.join(root.notes, 'mounts')
    const enter = async () => {
      const client = new DirectoryCoordination({ ...root, calls: remoteCalls })
      await client.enter()
      await client.leave()
    }
    await enter()
    const [name = ''] = await readdir(mounts)
    const text = await readFile(path.join(mounts, name), 'utf8')
    expect(JSON.parse(text)).toMatchObject({ probe: expect.any(Number), host: expect.any(String) })
    await enter()
    expect(await readdir(mounts)).toEqual([name])
    expect(await readFile(path.join(mounts, name), 'utf8')).toBe(text)
  })
})

it('the mount of a folder is the one that the kernel says', async () => {
  expect(await mountOf('/proc/self')).toMatchObject({ type: 'proc' })
  const below = path.join(await tempDir(), 'below')
  await mkdir(below)
  expect(await mountOf(below)).toEqual(await mountOf(path.dirname(below)))
})
