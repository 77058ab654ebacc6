import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { RunId, StoreId } from '../../../src/core/ids.ts'
import { ManifestWriter, recordFailure, waitForManifest } from '../../../src/refs/manifest.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'
import { exampleContract, exampleRef } from '../../support/refs.ts'
import { tempDir } from '../../support/temp-dir.ts'

async function scene() {
  const clock = new FakeClock()
  const time = new FakeMonotonic()
  const dir = path.join(await tempDir(), 'manifest')
  const abort = new AbortController()
  return {
    clock,
    time,
    abort,
    about: { dir, runId: RunId.parse('run'), storeId: StoreId.parse('store-a'), clock },
    wait: () => waitForManifest({ dir, time, signal: abort.signal, timeoutSeconds: 60 }),
    waited: () => time.now() / 1000,
  }
}
const contract = exampleContract

describe('waiting for a manifest', () => {
  it('ends when it is complete, however long that takes, as long as the producer lives', async () => {
    const { time, about, wait, waited } = await scene()
    let writer: ManifestWriter | undefined
    let sleeps = 0
    time.onSleep = async () => {
      sleeps += 1
      if (sleeps === 80) writer = await ManifestWriter.open({ ...about, contract })
      if (sleeps > 80 && sleeps % 100 === 0) await writer?.flush()
      if (sleeps !== 999) return
      writer?.append(exampleRef(0))
      await writer?.complete([])
    }
    expect([...(await wait()).refs]).toEqual([exampleRef(0)])
    expect(waited()).toBeGreaterThan(400)
  })

  it('ends at once when the producer has failed', async () => {
    const { about, wait, waited } = await scene()
    await ManifestWriter.open({ ...about, contract })
    await recordFailure({ ...about, code: 'OUT_OF_MEMORY' })
    const attempt = wait()
    await expect(attempt).rejects.toMatchObject({ code: 'PEER_FAILED' })
    await expect(attempt).rejects.toThrow('OUT_OF_MEMORY')
    expect(waited()).toBe(0)
  })

  it('ends at once when the producer failed before it could begin', async () => {
    const { about, wait, waited } = await scene()
    await recordFailure({ ...about, code: 'CONFIG_INVALID' })
    await expect(wait()).rejects.toThrow('CONFIG_INVALID')
    expect(waited()).toBe(0)
    // and does not stand in the way of the next attempt
    const again = await ManifestWriter.open({ ...about, contract })
    await again.complete([])
    expect([...(await wait()).refs]).toEqual([])
  })

  it('is a timeout when no producer begins', async () => {
    const { wait, waited } = await scene()
    const attempt = wait()
    await expect(attempt).rejects.toMatchObject({ code: 'PEER_TIMEOUT' })
    await expect(attempt).rejects.toThrow('no such file')
    expect(waited()).toBeCloseTo(60.5)
  })

  it('is a timeout when the heartbeat stops, counted on our own time', async () => {
    const { time, about, wait, waited } = await scene()
    // The producer's clock is a day ahead: only the change counts.
    const ahead = new FakeClock()
    ahead.advance(86_400_000)
    const writer = await ManifestWriter.open({ ...about, contract, clock: ahead })
    let sleeps = 0
    time.onSleep = async () => {
      ahead.advance(500)
      sleeps += 1
      if (sleeps === 100) await writer.flush()
    }
    const attempt = wait()
    await expect(attempt).rejects.toMatchObject({ code: 'PEER_TIMEOUT', details: { field: 'heartbeat' } })
    expect(waited()).toBeCloseTo(50 + 60.5, 0)
  })

  it.each([
    ['stands still', () => 0],
    ['steps back and forth by ten minutes', (beat: number) => (beat % 2 === 0 ? 600_000 : -600_000)],
  ])('goes on while a producer beats whose clock %s', async (_, step) => {
    const { clock, time, about, wait, waited } = await scene()
    const writer = await ManifestWriter.open({ ...about, contract })
    let beats = 0
    time.onSleep = async (now) => {
      if (now % 30_000 !== 0) return
      clock.advance(step(beats))
      beats += 1
      await (beats < 10 ? writer.flush() : writer.complete([]))
    }
    expect([...(await wait()).refs]).toEqual([])
    expect(waited()).toBe(300)
  })

  it('ends when it is asked to', async () => {
    const { time, abort, wait } = await scene()
    time.onSleep = () => abort.abort('SIGTERM')
    await expect(wait()).rejects.toMatchObject({ code: 'INTERRUPTED', details: { signal: 'SIGTERM' } })
  })

  it('ends with the fault of a manifest that is damaged', async () => {
    const { about, wait } = await scene()
    await ManifestWriter.open({ ...about, contract })
    await writeFile(path.join(about.dir, 'manifest.json'), '{')
    await expect(wait()).rejects.toMatchObject({ code: 'MANIFEST_INVALID' })
  })

  it('does not mark the manifest of other work as failed', async () => {
    const { about, wait } = await scene()
    const writer = await ManifestWriter.open({ ...about, contract })
    await writer.complete([])
    await recordFailure({ ...about, code: 'CONFIG_INVALID' })
    await recordFailure({ ...about, runId: RunId.parse('other'), code: 'CONFIG_INVALID' })
    expect([...(await wait()).refs]).toEqual([])
  })
})
