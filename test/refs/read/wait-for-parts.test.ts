import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ManifestWriter, type PartsDone, recordFailure, waitForManifest } from '../../../src/refs/manifest.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'
import { newManifest, orderedRefs, partWork, writePart } from '../../support/parts.ts'

const refs = orderedRefs(6)

/** A consumer that waits at most 60 s without a sign. `each`: what happens at a time in seconds. */
async function scene() {
  const dir = await newManifest()
  const time = new FakeMonotonic()
  const told: (PartsDone | null)[] = []
  const acts = new Map<number, () => Promise<unknown>>()
  time.onSleep = async (now) => void (await acts.get(now / 1000)?.())
  const signal = new AbortController().signal
  return {
    dir,
    told,
    at: (seconds: number, act: () => Promise<unknown>) => void acts.set(seconds, act),
    wait: () => waitForManifest({ dir, time, signal, timeoutSeconds: 60, onWait: (parts) => told.push(parts) }),
    waited: () => time.now() / 1000,
  }
}

describe('waiting for a manifest in parts', () => {
  it('ends when all parts are complete, and tells how many are', async () => {
    const { dir, told, at, wait, waited } = await scene()
    at(40, () => writePart(dir, 2, 3, refs))
    at(80, () => writePart(dir, 0, 3, refs))
    at(130, () => writePart(dir, 1, 3, refs))
    expect([...(await wait()).refs]).toEqual(refs)
    expect(waited()).toBe(130)
    expect(told).toEqual([null, { complete: 1, count: 3 }, { complete: 2, count: 3 }])
  })

  it('ends at once when one part has failed, and names it', async () => {
    const { dir, at, wait, waited } = await scene()
    await ManifestWriter.open(partWork(dir, 0, 3))
    at(7, () => recordFailure({ ...partWork(dir, 1, 3), code: 'OUT_OF_MEMORY' }))
    const attempt = wait()
    await expect(attempt).rejects.toMatchObject({ code: 'PEER_FAILED' })
    await expect(attempt).rejects.toThrow(/part 1 \(of 0 to 2\) has failed.*part-001.*OUT_OF_MEMORY/s)
    expect(waited()).toBe(7)
  })

  it('is a timeout for a part that is begun and silent, though others live', async () => {
    const { dir, at, wait, waited } = await scene()
    const [silent, living] = [partWork(dir, 0, 2), partWork(dir, 1, 2)]
    await ManifestWriter.open(silent)
    const writer = await ManifestWriter.open(living)
    for (let seconds = 10; seconds < 100; seconds += 10) at(seconds, () => writer.flush())
    const attempt = wait()
    await expect(attempt).rejects.toMatchObject({ code: 'PEER_TIMEOUT', details: { field: 'heartbeat' } })
    await expect(attempt).rejects.toThrow(/part 0 \(of 0 to 1\) gives no sign of life.*part-000/s)
    expect(waited()).toBe(60.5)
  })

  it('goes on for a part that has not begun while another one lives, and names it when none does', async () => {
    const { dir, at, wait, waited } = await scene()
    const writer = await ManifestWriter.open(partWork(dir, 0, 3))
    for (let seconds = 50; seconds < 500; seconds += 50) at(seconds, () => writer.flush())
    at(500, () => writer.complete([]))
    const attempt = wait()
    await expect(attempt).rejects.toMatchObject({ code: 'PEER_TIMEOUT' })
    await expect(attempt).rejects.toThrow(/a part of the manifest has no producer.*part-001/s)
    expect(waited()).toBe(560.5)
  })

  it('does not count the time in which a part was complete and others went on', async () => {
    const { dir, at, wait, waited } = await scene()
    await writePart(dir, 0, 2, refs)
    const writer = await ManifestWriter.open(partWork(dir, 1, 2))
    for (let seconds = 30; seconds < 300; seconds += 30) at(seconds, () => writer.flush())
    at(300, () => writer.complete([]))
    await wait()
    expect(waited()).toBe(300)
  })

  it('is a timeout when only the folder of a part was made', async () => {
    const { dir, wait, waited } = await scene()
    await mkdir(path.join(dir, 'part-000'), { recursive: true })
    await expect(wait()).rejects.toThrow('no producer has begun a manifest')
    expect(waited()).toBe(60.5)
  })
})
