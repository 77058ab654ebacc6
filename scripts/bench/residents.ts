import { linkSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { embedPython } from '../../src/bridge/python.ts'
import type { TensorSet } from '../../src/bridge/tensor-set.ts'
import { Generation, SampleId } from '../../src/core/ids.ts'
import { shardOf } from '../../src/store/blob-key.ts'
import { nameOf } from '../../src/store/blobs/directory/object-names.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import type { Recorder } from '../results/recorder.ts'
import { median, milliseconds } from './statistics.ts'
import { getting, putting, specimen, specimenMetadata } from './store-sides.ts'
import { type Side, takeTurns } from './turns.ts'

/** Below the number of hard links that a file system allows for one file. */
const LINKS = 50_000

/** Fills the store with `count` object names. Most are hard links to one object: quick to make, and the same to a listing. */
async function fill(root: string, store: FeatureStore, tensors: TensorSet, count: number): Promise<void> {
  let source = ''
  for (let index = 0; index < count; index += 1) {
    const sampleId = SampleId.parse(`resident:${index}`)
    const dir = path.join(root, 'objects', shardOf(sampleId))
    if (index % LINKS === 0) {
      const ref = await store.put(sampleId, tensors, specimenMetadata)
      source = path.join(dir, nameOf(ref))
      continue
    }
    mkdirSync(dir, { mode: 0o700, recursive: true })
    linkSync(source, path.join(dir, nameOf({ sampleId, generation: Generation.parse(1) })))
  }
}

export interface ResidentsOptions {
  readonly dir: string
  readonly turns: number
  /** How many samples the compared stores hold. */
  readonly counts: readonly number[]
}

/** Adds what a put and a get of a small sample take, by how many samples the store holds. */
export async function compareResidents(recorder: Recorder, { dir, turns, counts }: ResidentsOptions): Promise<void> {
  const python = await embedPython()
  await using tensors = await specimen(4, 64)
  const stores: FeatureStore[] = []
  const sides: Side[] = []
  const firstPuts: number[] = []
  for (const count of counts) {
    const root = path.join(dir, `residents-${count}`)
    await using filler = await sharedDirFeatureStore({ python, root, retain: true, durability: 'fast' })
    await fill(root, filler, tensors, count)
    await filler.close()
    const store = await sharedDirFeatureStore({ python, root, retain: true })
    stores.push(store)
    const begun = performance.now()
    const ref = await store.put(SampleId.parse('own'), tensors, specimenMetadata)
    firstPuts.push((performance.now() - begun) / 1000)
    sides.push(putting(`put ${count}`, store, tensors), getting(`get ${count}`, store, ref, true))
  }
  const found = await takeTurns(sides, turns)
  for (const store of stores) await store.close()
  const timeOf = (what: string, count: number | undefined): number => median(found.get(`${what} ${count}`) ?? [])
  const ratio = (what: string, count: number): string => (timeOf(what, count) / timeOf(what, counts[0])).toFixed(2)
  recorder.add({
    title: 'put and get of 3 KB, by the number of samples in the store',
    columns: ['samples', 'put', 'ratio', 'get', 'ratio', 'first put, which lists the store'],
    rows: counts.map((count, index) => [
      String(count),
      milliseconds(timeOf('put', count)),
      ratio('put', count),
      milliseconds(timeOf('get', count)),
      ratio('get', count),
      milliseconds(firstPuts[index] ?? Number.NaN, 0),
    ]),
  })
}
