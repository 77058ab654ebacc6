import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ManifestWriter, readManifestSoFar, requireFitting, writeRefManifest } from '../../../src/refs/manifest.ts'
import { newManifest, orderedRefs, partWork, writePart } from '../../support/parts.ts'
import { work } from '../../support/producer-work.ts'

const refs = orderedRefs(3)

describe('a producer of a part', () => {
  it('may begin in an empty folder, beside its own kind, and go on', async () => {
    const dir = await newManifest()
    expect(await requireFitting(partWork(dir, 0, 2), null)).toBe(false)
    await writePart(dir, 1, 2, refs)
    expect(await requireFitting(partWork(dir, 0, 2), null)).toBe(false)
    expect(await requireFitting(partWork(dir, 1, 2), null)).toBe(true)
  })

  it('is refused where parts of another number lie, and both numbers are named', async () => {
    const dir = await newManifest()
    await writePart(dir, 0, 4, refs)
    for (const index of [0, 2]) {
      const attempt = ManifestWriter.open(partWork(dir, index, 3))
      await expect(attempt).rejects.toMatchObject({ code: 'MANIFEST_INVALID', details: { field: 'part.count' } })
      await expect(attempt).rejects.toThrow(new RegExp(`4 parts.*part ${index}/3`))
    }
  })

  it.each([
    ['run', { runId: 'other' as never }, 'run_id'],
    ['store', { storeId: 'store-b' as never }, 'store_id'],
    ['inputs', { inputs: 'others' }, 'inputs'],
    ['capture contract', { contract: { ...work('').contract, dtype: 'float32' as const } }, 'contract.dtype'],
  ])('is refused beside a part of another %s, and the part and the field are named', async (_, change, field) => {
    const dir = await newManifest()
    await writePart(dir, 0, 2, refs)
    const file = path.join(dir, 'part-000', 'manifest.json')
    const details = { field, file }
    await expect(ManifestWriter.open({ ...partWork(dir, 1, 2), ...change })).rejects.toMatchObject({ details })
    expect((await readManifestSoFar({ dir })).parts?.map(({ state }) => state)).toEqual(['complete', 'missing'])
  })

  it('and one of the whole exclude each other, both ways', async () => {
    const [whole, parts] = [await newManifest(), await newManifest()]
    await writeRefManifest({ ...work(whole), refs, counts: [] })
    await writePart(parts, 1, 2, refs)
    await expect(ManifestWriter.open(partWork(whole, 0, 2))).rejects.toThrow('go on without --part')
    await expect(ManifestWriter.open(work(parts))).rejects.toThrow('--part 0/2 to --part 1/2')
  })

  it('that begins at the same moment as one of the whole: not both go on, and readers refuse what is left', async () => {
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const dir = await newManifest()
      await mkdir(path.join(dir, 'part-000'), { recursive: true })
      const begun = await Promise.allSettled([ManifestWriter.open(work(dir)), ManifestWriter.open(partWork(dir, 0, 2))])
      expect(begun.filter(({ status }) => status === 'fulfilled').length).toBeLessThan(2)
      if (begun.some(({ status }) => status === 'fulfilled')) continue
      await expect(readManifestSoFar({ dir })).rejects.toThrow('one producer, and parts of several')
    }
  })
})
