import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import type { DataHealth, ShownSamples } from '../../core/data-health.ts'
import { errnoName } from '../../core/errors.ts'
import { type ManifestSoFar, readManifestRoot, readManifestSoFar } from '../../refs/manifest.ts'
import { sha256 } from '../../refs/sha256.ts'
import { dataHealth } from './data-health.ts'
import { type KeptHealth, keepHealth, keptHealth } from './kept-health.ts'
import { markedSamples, reasonOf } from './marked-samples.ts'
import { openForSamples } from './sample-store.ts'

const SAMPLES = 10
const SEALED = 'the store is sealed, and this page is not; `manifest show --samples` shows them on request'

/** Where the health of a run's data comes from. */
export interface HealthOptions {
  /** Show samples as text. */
  readonly samples: boolean
  /** Only what an earlier command of the run has kept: for commands that do not work with the manifest. */
  readonly keptOnly: boolean
}

/**
 * What the data of a run are like, for its report; null where there is no manifest. A text says why a manifest cannot be
 * read: that does not fail a run which has done its work.
 */
export async function runHealth(config: RunConfig, options: HealthOptions): Promise<DataHealth | string | null> {
  const kept = await keptHealth(config.run.dir)
  if (options.keptOnly || !traitsOf(config.store).shared) return kept === null ? null : shownAs(kept.health, options)
  try {
    const root = await readManifestRoot(config.manifest)
    if (root === null) return null
    if (kept !== null && serves(kept, sha256(root.text), options)) return shownAs(kept.health, options)
    const { manifest, health } = await healthOf(config, options)
    await keepHealth(config.run.dir, { manifest: manifest.sha256, health })
    return health
  } catch (error) {
    if (error instanceof Error && errnoName(error) !== null) return error.message
    return reasonOf(error)
  }
}

/** Samples that could not be read are tried again. */
function serves({ manifest, health }: KeptHealth, sum: string, { samples }: HealthOptions): boolean {
  return manifest === sum && (!samples || (health.shown !== null && health.shown.samples.length > 0))
}

const shownAs = (health: DataHealth, { samples }: HealthOptions): DataHealth =>
  samples ? health : { ...health, shown: null }

async function healthOf(
  config: RunConfig,
  { samples }: HealthOptions,
): Promise<{ readonly manifest: ManifestSoFar; readonly health: DataHealth }> {
  const isSealed = config.store.auth.mode === 'seal'
  const draftSize = config.draft.config === 'auto' ? config.draft.vocabSize : null
  if (!samples || isSealed) {
    const manifest = await readManifestSoFar({ dir: config.manifest })
    const shown = samples ? { seed: config.run.seed, samples: [], missing: SEALED } : null
    return { manifest, health: { ...(await dataHealth(manifest, draftSize)), shown } }
  }
  await using opened = await openForSamples(async () => ({ root: null, config, keyFile: null }))
  const { store, why } = opened
  const signed = store === null ? {} : { storeId: store.parts.id, key: store.key }
  const manifest = await readManifestSoFar({ dir: config.manifest, ...signed })
  const shown = store === null ? withoutSamples(config, why) : await samplesOf(config, manifest, store)
  return { manifest, health: { ...(await dataHealth(manifest, draftSize)), shown } }
}

const withoutSamples = ({ run }: RunConfig, missing: string): ShownSamples => ({ seed: run.seed, samples: [], missing })

async function samplesOf(
  { run, target }: RunConfig,
  { root, refs }: ManifestSoFar,
  store: Parameters<typeof markedSamples>[0]['store'],
): Promise<ShownSamples | null> {
  const { contract } = root
  if (contract === null || refs.length === 0) return null
  const { model, tokenizer } = target
  return markedSamples({ refs, contract, store, tokenizer, model, count: SAMPLES, seed: run.seed })
}
