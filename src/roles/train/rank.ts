import { rm } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { embedPython, type Python } from '../../bridge/python.ts'
import { RunConfig } from '../../config/schema.ts'
import { systemClock } from '../../core/clock.ts'
import { FenceWatch } from '../../core/liveness/fence-watch.ts'
import { PublishingFolder } from '../../core/liveness/publishing-folder.ts'
import type { RankLink } from '../../launch/rank-link.ts'
import { RankPlace } from '../../launch/topology.ts'
import { readRefManifest } from '../../refs/manifest.ts'
import type { EventBody } from '../../report/events/events.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import { openStore } from '../../store/open.ts'
import type { Rehearsed } from '../../train/rehearsal.ts'
import type { TrainOutcome } from '../../train/trainer.ts'
import { produceInto } from '../produce/produce.ts'
import { dataOf } from './prepare-run.ts'
import { buildDisaggRuntime, buildOfflineRuntime } from './runtime.ts'

/** The input of one rank process: a place in the job, the whole config, and where its features come from. */
export const RankSpec = z.strictObject({
  place: RankPlace,
  config: RunConfig,
  /** `manifest`: another process has filled a shared store. `local`: this one fills a store of its own first. */
  features: z.enum(['manifest', 'local']),
  /** The publishing folder of the claim on this run; null where nothing is kept. */
  publishFrom: z.string().nullable(),
  /** As in `CheckpointUse`. */
  resumeFrom: z.union([z.enum(['newest', 'agreed']), z.number().int().nonnegative()]).nullable(),
  /** One optimiser step, of which nothing is kept. */
  dryRun: z.boolean(),
})
export type RankSpec = z.output<typeof RankSpec>

/** One rank, from an empty process to the end of the run. */
export async function rank(given: RankLink): Promise<TrainOutcome | Rehearsed | null> {
  const spec = RankSpec.parse(given.spec)
  using watch = fenceWatch(spec)
  const link = watch === null ? given : { ...given, signal: AbortSignal.any([given.signal, watch.fenced]) }
  link.phase('starting Python')
  const python = await embedPython()
  return await (spec.features === 'manifest' ? trainFromManifest : trainColocated)(spec, python, link)
}

/** Null on ranks that save nothing: all stop at the step at which the first one does. */
const fenceWatch = ({ place, publishFrom }: RankSpec): FenceWatch | null =>
  place.rank === 0 && publishFrom !== null ? new FenceWatch(new PublishingFolder(publishFrom)) : null

async function trainFromManifest(spec: RankSpec, python: Python, link: RankLink) {
  const { config } = spec
  link.phase('reading the manifest')
  // Only a producer's quota counts: to give one here would begin a count of the store's bytes.
  await using store = await openStore({ ...config.store, python, quota: null, create: false })
  if (!store.retain && !spec.dryRun) await settleMembers(store, link)
  const read = (dir: string) => readRefManifest({ dir, storeId: store.id, key: store.key })
  const manifest = await read(config.manifest)
  const named = config.train.validation?.manifest ?? null
  const validation = named === null ? null : await read(named)
  await using runtime = await buildDisaggRuntime({
    ...reporting(spec, link),
    python,
    store,
    manifest,
    validation,
  })
  return await (spec.dryRun ? runtime.rehearse() : runtime.fit())
}

// Without this wait a claim of a run that died on another machine counts as held, and the rank fails with STORE_BUSY.
async function settleMembers(store: FeatureStore, { signal, phase }: RankLink): Promise<void> {
  phase('watching whether members of the store on other machines are alive')
  await store.settleMembers({ signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error
  })
}

/** Every rank fills a store in its own memory with all samples, because it cannot read another rank's memory. */
async function trainColocated(spec: RankSpec, python: Python, link: RankLink): Promise<TrainOutcome> {
  const { config, place } = spec
  link.phase('producing features')
  await using store = await openStore({ kind: 'local', python, retain: config.store.retain, quota: config.store.quota })
  // The store ends with this process, so the manifest of an earlier process names a store that is gone.
  const manifest = path.join(config.run.dir, 'colocated', `rank-${place.rank}`)
  await rm(manifest, { recursive: true, force: true })
  const shared = reporting(spec, link)
  const context = { clock: systemClock, signal: link.signal, events: shared.events }
  const produced = await produceInto({ config: { ...config, manifest }, python, store, context })
  const data = { ...dataOf(produced), manifestSha256: null }
  await using runtime = await buildOfflineRuntime({ ...shared, python, store, data })
  return await runtime.fit()
}

/** Only rank 0 emits events, because all ranks do the same. But each reads other samples, and reports damaged ones. */
function reporting({ config, place, publishFrom, resumeFrom }: RankSpec, link: RankLink) {
  const emit = (body: EventBody) => {
    if (place.rank === 0 || body.event === 'sample.corrupt') link.event(body)
  }
  return {
    config,
    place,
    checkpoints: { publishFrom, resumeFrom },
    signal: link.signal,
    events: { emit },
    onPhase: (phase: string) => link.phase(phase),
  }
}
