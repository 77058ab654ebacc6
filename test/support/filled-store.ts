import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { RunId, SampleId } from '../../src/core/ids.ts'
import type { Watch } from '../../src/core/liveness/watch.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { type MaintenanceStore, openStoreForMaintenance } from '../../src/store/open-for-maintenance.ts'
import { python, sampleSpecs, synthesize } from './tensors.ts'

export const openStore = (root: string, quota: number | null = null): Promise<FeatureStore> =>
  sharedDirFeatureStore({ python, root, retain: true, durability: 'fast', quota })

export const care = (root: string, watch?: Watch): Promise<MaintenanceStore> =>
  openStoreForMaintenance({ python, root, ...(watch === undefined ? {} : { watch }) })

export async function putSample(store: FeatureStore, name: string, run = 'run', seed = 1): Promise<SampleRef> {
  await using source = await synthesize(seed, sampleSpecs(6))
  return await store.put(SampleId.parse(name), source, { runId: RunId.parse(run), numTokens: 6, provenance: {} })
}

/** A store in `root` that holds these samples of each run, named `<run>:<index>`. */
export async function fillStore(root: string, runs: Readonly<Record<string, number>>): Promise<SampleRef[]> {
  await using store = await openStore(root)
  const refs: SampleRef[] = []
  for (const [run, count] of Object.entries(runs)) {
    for (let index = 0; index < count; index += 1) refs.push(await putSample(store, `${run}:${index}`, run, index))
  }
  return refs
}

/** All files below a folder of the store, by their path in it. */
export async function filesIn(root: string, folder: string): Promise<readonly string[]> {
  const entries = await readdir(path.join(root, folder), { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => !entry.isDirectory())
  return files.map((entry) => path.relative(root, path.join(entry.parentPath, entry.name))).sort()
}

export async function objectFile(root: string, { sampleId, generation }: SampleRef): Promise<string> {
  const name = `${sampleId}.${generation}.safetensors`
  const found = (await filesIn(root, 'objects')).find((file) => path.basename(file) === name)
  if (found === undefined) throw new Error(`no object ${name}`)
  return path.join(root, found)
}
