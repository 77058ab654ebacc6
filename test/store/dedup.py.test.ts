import { open as openFile, readdir, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { RunId, SampleId } from '../../src/core/ids.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { checkHandlesAfterEach, digestsOf, python, sampleSpecs, synthesize } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

checkHandlesAfterEach()
const opened: FeatureStore[] = []
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close()
})

async function open(root: string): Promise<FeatureStore> {
  const store = await sharedDirFeatureStore({ python, root, retain: true, durability: 'fast', dedup: true })
  opened.push(store)
  return store
}

const [a, b] = [SampleId.parse('run:a'), SampleId.parse('run:b')]
const about = { runId: RunId.parse('run'), numTokens: 6, provenance: {} }

async function put(store: FeatureStore, id: SampleId, seed: number) {
  await using tensors = await synthesize(seed, sampleSpecs(6))
  return { ref: await store.put(id, tensors, about), digests: await digestsOf(tensors) }
}

async function digestsAt(store: FeatureStore, { ref }: Awaited<ReturnType<typeof put>>) {
  await using lease = await store.get(ref)
  return await digestsOf(lease.tensors)
}

async function files(root: string, part: string): Promise<string[]> {
  const names = await readdir(path.join(root, part), { recursive: true }).catch(() => [])
  return names.filter((name) => name.endsWith('.bin')).map((name) => path.join(root, part, name))
}

describe('two samples with equal tensors', () => {
  it('are kept once, read alike, and outlive one another', async () => {
    const root = await tempDir()
    const [one, two] = [await open(root), await open(root)]
    const [first, second] = [await put(one, a, 1), await put(two, b, 1)]
    expect(second.ref.digests).toEqual(first.ref.digests)
    expect([(await files(root, 'content')).length, (await files(root, 'extern')).length]).toEqual([1, 2])
    await one.abort(a)
    expect(await digestsAt(one, second)).toEqual(second.digests)
    await two.abort(b)
    expect([await files(root, 'content'), await files(root, 'extern')]).toEqual([[], []])
  })

  it('are counted once', async () => {
    const root = await tempDir()
    const store = await open(root)
    const used = async () => (await store.usage()).bytes
    await put(store, a, 1)
    const alone = await used()
    await put(store, b, 1)
    const [content = ''] = await files(root, 'content')
    const { size } = await stat(content)
    expect((await used()) - alone).toBeLessThan(alone - size + 100)
    await store.abort(a)
    expect(await used()).toBe(alone)
    await store.abort(b)
    expect(await used()).toBe(0)
  })

  it('stay apart when a byte differs', async () => {
    const root = await tempDir()
    const store = await open(root)
    await put(store, a, 1)
    await put(store, b, 2)
    expect(await files(root, 'content')).toHaveLength(2)
  })

  it('stay apart when what is stored under their name is not theirs: the name proves nothing', async () => {
    const root = await tempDir()
    const store = await open(root)
    const first = await put(store, a, 1)
    const [content = ''] = await files(root, 'content')
    const file = await openFile(content, 'r+')
    await file.write(Buffer.from([255]), 0, 1, 5000)
    await file.close()
    const second = await put(store, b, 1)
    expect(await files(root, 'extern')).toHaveLength(1)
    expect(await digestsAt(store, second)).toEqual(second.digests)
    await expect(store.get(first.ref)).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT' })
  })

  it.each([
    ['its object', ['objects']],
    ['its object and its link', ['objects', 'extern']],
  ])('leave nothing for ever when a process dies with only %s removed', async (_, parts) => {
    const root = await tempDir()
    const store = await open(root)
    const [, other] = [await put(store, a, 1), await put(store, b, 2)]
    for (const part of parts) {
      const names = await readdir(path.join(root, part), { recursive: true })
      const own = names.find((name) => path.basename(name).startsWith(`${a}.`)) ?? ''
      await rm(path.join(root, part, own))
    }
    // Removing a link touches the file it was a link to, so that is young for the first one.
    for (let times = 0; times < 2; times += 1) await store.sweep({ dryRun: false, graceMs: 0 })
    expect([(await files(root, 'content')).length, (await files(root, 'extern')).length]).toEqual([1, 1])
    expect(await digestsAt(store, other)).toEqual(other.digests)
  })

  it('are kept once after a sample was put again, and when both are put at the same time', async () => {
    const root = await tempDir()
    const [one, two] = [await open(root), await open(root)]
    const [first, second] = await Promise.all([put(one, a, 1), put(two, b, 1)])
    expect(await files(root, 'content')).toHaveLength(1)
    const again = await put(one, a, 1)
    expect(again.ref.generation).toBeGreaterThan(first.ref.generation)
    expect([(await files(root, 'content')).length, (await files(root, 'extern')).length]).toEqual([1, 2])
    for (const each of [again, second]) expect(await digestsAt(two, each)).toEqual(each.digests)
    await expect(one.get(first.ref)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
  })
})
