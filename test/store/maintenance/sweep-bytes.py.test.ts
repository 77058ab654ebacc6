import { cp, link, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { RunId, SampleId } from '../../../src/core/ids.ts'
import type { SampleRef } from '../../../src/core/sample-ref.ts'
import { keySegment } from '../../../src/store/blob-key.ts'
import type { FeatureStore } from '../../../src/store/feature-store.ts'
import { type SweepReport, sweep } from '../../../src/store/maintenance/sweep.ts'
import { sharedDirFeatureStore } from '../../../src/store/open.ts'
import { diskUsage } from '../../support/disk-usage.ts'
import { care, filesIn, objectFile } from '../../support/filled-store.ts'
import { checkHandlesAfterEach, python, sampleSpecs, synthesize } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'

checkHandlesAfterEach()
const DEAD = 'm00000000000000de'
/** All but `notes`: those are not counted. */
const DATA = ['objects', 'extern', 'content', 'staging', 'quarantine']
const about = { runId: RunId.parse('run'), numTokens: 6, provenance: {} }

let root: string
let userFile: string
beforeEach(async () => {
  const dir = await tempDir()
  root = path.join(dir, 'store')
  userFile = path.join(dir, 'states.bin')
})

const open = (dedup: boolean): Promise<FeatureStore> =>
  sharedDirFeatureStore({ python, root, retain: true, durability: 'fast', dedup })

async function put(store: FeatureStore, name: string, seed: number): Promise<SampleRef> {
  await using tensors = await synthesize(seed, sampleSpecs(6))
  return await store.put(SampleId.parse(name), tensors, about)
}

/** A sample whose tensor stays in a file of the user, to which the store has a link. */
async function putLinked(store: FeatureStore, name: string): Promise<SampleRef> {
  await writeFile(userFile, Buffer.alloc(4096))
  const { size, mtimeNs } = await stat(userFile, { bigint: true })
  await using tensors = await synthesize(1, [{ name: 'states', shape: [1024], dtype: 'float32' }])
  const extern = {
    file: userFile,
    size: Number(size),
    mtimeNs: String(mtimeNs),
    offsets: { states: 0 },
    link: ['hardlink'] as const,
    orCopy: false,
  }
  return await store.put(SampleId.parse(name), tensors, { ...about, extern })
}

/** The folder of a member that is gone, whose files `fill` makes. */
async function staged(fill: (at: (name: string) => string) => Promise<void>): Promise<void> {
  await mkdir(path.join(root, 'staging', DEAD))
  await fill((name) => path.join(root, 'staging', DEAD, name))
}

const total = ({ found }: SweepReport): number => Object.values(found).reduce((sum, { bytes }) => sum + bytes, 0)

/** Sweeps dry and for real: both must say what the tree then weighs less, kind by kind the same. */
async function expectExact(): Promise<SweepReport> {
  await using store = await care(root)
  const judge = async ({ key }: { key: { sampleId: string } }) =>
    key.sampleId.startsWith('keep') ? 'listed' : 'orphan'
  const options = { graceMs: 0, judge: judge as never }
  // A sweep joins the store, and a member that signs has a file of its own.
  await store.parts.members.join()
  await store.parts.coordination.sign('signed/before')
  const before = await diskUsage(root, DATA)
  const dry = await sweep(store.parts, store.files, { ...options, dryRun: true })
  expect(await diskUsage(root, DATA)).toBe(before)
  const report = await sweep(store.parts, store.files, { ...options, dryRun: false })
  expect(before - (await diskUsage(root, DATA))).toBe(total(report))
  expect(dry.found).toEqual(report.found)
  return report
}

describe('a sweep counts exactly what it frees', () => {
  it('for objects, a replaced generation among them', async () => {
    const refs = await (async () => {
      await using store = await open(false)
      return [await put(store, 'keep', 1), await put(store, 'orphan', 2)] as const
    })()
    const old = path.join(path.dirname(await objectFile(root, refs[1])), 'orphan.1.safetensors')
    await cp(await objectFile(root, refs[1]), old)
    const { found } = await expectExact()
    expect([found.superseded.count, found.orphans.count]).toEqual([1, 1])
  })

  it('for tensors that lie in a file of the user', async () => {
    {
      await using store = await open(false)
      await putLinked(store, 'orphan')
    }
    const { found } = await expectExact()
    expect(found.orphans.bytes).toBeGreaterThan(4096)
  })

  it.each([
    ['all of its users go', ['orphan:a', 'orphan:b']],
    ['one of its users stays', ['keep', 'orphan']],
  ])('for tensors that samples share, when %s', async (_, names) => {
    {
      await using store = await open(true)
      for (const name of names) await put(store, name, 1)
    }
    await expectExact()
  })

  it('for files without an object: of one sample, of several, and those that nobody uses', async () => {
    const refs = await (async () => {
      await using store = await open(true)
      const shared = [await put(store, 'gone', 1), await put(store, 'keep', 1)]
      return [...shared, await put(store, 'unused', 2), await putLinked(store, 'linked')]
    })()
    for (const ref of refs) if (ref.sampleId !== 'keep') await rm(await objectFile(root, ref))
    for (const file of await filesIn(root, 'extern')) if (file.includes('unused')) await rm(path.join(root, file))
    const { found } = await expectExact()
    expect([found.extern.count, found.content.count]).toEqual([2, 1])
    expect(found.extern.bytes).toBe(4096)
  })

  it('for what a dead process had staged, however much of it the store has elsewhere too', async () => {
    const ref = await (async () => {
      await using store = await open(true)
      await putLinked(store, 'keep:linked')
      return await put(store, 'keep:shared', 1)
    })()
    const [content = ''] = await filesIn(root, 'content')
    const [linked = ''] = (await filesIn(root, 'extern')).filter((file) => file.includes('linked'))
    await staged(async (at) => {
      await writeFile(at('half.safetensors'), 'half of an object')
      await mkdir(at('new.folder'))
      await writeFile(at('new.folder/note'), 'a note that was not published')
      await link(await objectFile(root, ref), at('published.safetensors'))
      await link(path.join(root, content), at('shared.bin'))
      await link(path.join(root, linked), at('adopted.bin'))
      await writeFile(`${userFile}.other`, 'another file of the user')
      await link(`${userFile}.other`, at('not-adopted.bin'))
    })
    const { found } = await expectExact()
    expect([found.staging.count, found.staging.bytes]).toEqual([1, 17 + 29 + 24])
  })

  it('for samples whose last holder died before they were freed', async () => {
    const refs = await (async () => {
      await using store = await open(false)
      return [await put(store, 'keep:a', 1), await put(store, 'keep:b', 2), await put(store, 'keep:c', 3)]
    })()
    const notes = path.join(root, 'notes')
    // Consumed by a get; acknowledged; and one that is being freed.
    const parts = [['consumed'], ['consumed', 'claims'], ['leases']] as const
    for (const [index, ref] of refs.entries()) {
      for (const part of parts[index] ?? []) {
        const file = path.join(notes, part, keySegment(ref))
        await mkdir(path.dirname(file), { recursive: true })
        await writeFile(file, DEAD)
      }
    }
    const { found } = await expectExact()
    const counts = (['consumed', 'claims', 'leases'] as const).map((kind) => [found[kind].count, found[kind].bytes > 0])
    expect(counts).toEqual([
      [2, true],
      [1, false],
      [1, true],
    ])
    for (const part of ['consumed', 'claims', 'leases']) expect(await filesIn(notes, part)).toEqual([])
    expect(await filesIn(root, 'objects')).toEqual([])
  })

  it('for the folder of a member that was fenced', async () => {
    await (await open(false)).close()
    await staged(async (at) => writeFile(at('half.bin'), 'half'))
    await rename(path.join(root, 'staging', DEAD), path.join(root, 'staging', `fenced.${DEAD}.x`))
    expect((await expectExact()).found.staging).toEqual({ count: 1, bytes: 4 })
  })
})
