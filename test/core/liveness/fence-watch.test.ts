import { rm } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { FenceWatch } from '../../../src/core/liveness/fence-watch.ts'
import { BEAT_MS } from '../../../src/core/liveness/heartbeat.ts'
import { PublishingFolder } from '../../../src/core/liveness/publishing-folder.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'
import { tempDir } from '../../support/temp-dir.ts'

async function watched() {
  const folder = new PublishingFolder(path.join(await tempDir(), 'own'))
  await folder.make()
  const time = new FakeMonotonic()
  const watch = new FenceWatch(folder, time)
  /** One beat, and as long as a look takes. */
  const beat = async () => {
    time.advance(BEAT_MS)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { folder, watch, beat }
}

it('tells within a beat that the folder was taken away', async () => {
  const { folder, watch, beat } = await watched()
  await beat()
  expect(watch.fenced.aborted).toBe(false)
  await rm(folder.dir, { recursive: true })
  await beat()
  expect(watch.fenced.aborted).toBe(true)
  watch[Symbol.dispose]()
})

it('takes a look that fails for none', async () => {
  const { folder, watch, beat } = await watched()
  await rm(folder.dir, { recursive: true })
  const isThere = folder.isThere.bind(folder)
  folder.isThere = () => Promise.reject(new Error('EIO'))
  await beat()
  expect(watch.fenced.aborted).toBe(false)
  folder.isThere = isThere
  await beat()
  expect(watch.fenced.aborted).toBe(true)
  watch[Symbol.dispose]()
})

it('looks no more once it is disposed', async () => {
  const { folder, watch, beat } = await watched()
  watch[Symbol.dispose]()
  await rm(folder.dir, { recursive: true })
  await beat()
  expect(watch.fenced.aborted).toBe(false)
})
