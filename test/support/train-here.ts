import type { RunConfig } from '../../src/config/schema.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import type { RoleContext } from '../../src/roles/context.ts'
import { buildDisaggEagle3Runtime } from '../../src/roles/train/runtime.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import type { TrainOutcome } from '../../src/train/trainer.ts'
import { python } from './tensors.ts'

/** One rank in this very process, which is faster than a process of its own. */
export async function trainHere(config: RunConfig, { events, signal }: RoleContext): Promise<TrainOutcome> {
  const { root, retain } = config.store
  await using store = await sharedDirFeatureStore({ python, root, retain, create: false })
  const read = (manifest: string) => readRefManifest({ dir: manifest, storeId: store.id })
  const named = config.train.validation?.manifest ?? null
  const manifests = { manifest: await read(config.manifest), validation: named === null ? null : await read(named) }
  await using runtime = await buildDisaggEagle3Runtime({ config, python, store, events, signal, ...manifests })
  return await runtime.fit()
}
