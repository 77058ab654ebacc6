import { linkSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { embedPython } from '../../src/bridge/python.ts'
import type { TensorSet } from '../../src/bridge/tensor-set.ts'
import { SampleId } from '../../src/core/ids.ts'
import { shardOf } from '../../src/store/blob-key.ts'
import { nameOf } from '../../src/store/blobs/directory/object-names.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, getting, putting, specimen } from './store-sides.ts'
import { median, type Side, takeTurns } from './turns.ts'

const COUNTS = [100, 1000, 10_000, 100_000]
/** Below what a file system allows of one file. */
const LINKS = 50_000

/** Names of objects as puts make them, each another name of an object that was put: quick, and the same to a listing. */
async function fill(root: string, store: FeatureStore, tensors: TensorSet, count: number): Promise<void> {
  let source = ''
  for (let index = 0; index < count; index += 1) {
    const sampleId = SampleId.parse(`resident:${index}`)
    const dir = path.join(root, 'objects', shardOf(sampleId))
    if (index % LINKS === 0) {
      const ref = await store.put(sampleId, tensors, about)
      source = path.join(dir, nameOf(ref))
      continue
    }
    mkdirSync(dir, { mode: 0o700, recursive: true })
    linkSync(source, path.join(dir, nameOf({ sampleId, generation: 1 as never })))
  }
}

/** What a put and a get of a small sample take, by how many samples there are. */
export async function compareResidents(dir: string, turns: number): Promise<void> {
  const python = await embedPython()
  await using tensors = await specimen(4, 64)
  const stores: FeatureStore[] = []
  const sides: Side[] = []
  process.stdout.write('\nresident samples: put and get of 3 KB (times, and times of 10^2 = 1)\n')
  for (const count of COUNTS) {
    const root = path.join(dir, `residents-${count}`)
    await using filler = await sharedDirFeatureStore({ python, root, retain: true, durability: 'fast' })
    await fill(root, filler, tensors, count)
    await filler.close()
    const store = await sharedDirFeatureStore({ python, root, retain: true })
    stores.push(store)
    const begun = performance.now()
    const ref = await store.put(SampleId.parse('own'), tensors, about)
    process.stdout.write(`  ${count}: the first put, which lists, ${(performance.now() - begun).toFixed(0)} ms\n`)
    sides.push(putting(`put ${count}`, store, tensors), getting(`get ${count}`, store, ref, true))
  }
  const found = await takeTurns(sides, turns)
  for (const what of ['put', 'get']) {
    const base = median(found.get(`${what} ${COUNTS[0]}`) ?? [])
    for (const count of COUNTS) {
      const time = median(found.get(`${what} ${count}`) ?? [])
      process.stdout.write(
        `  ${what} at ${String(count).padEnd(8)} ${(time * 1e3).toFixed(2)} ms  ${(time / base).toFixed(2)}\n`,
      )
    }
  }
  for (const store of stores) await store.close()
}
