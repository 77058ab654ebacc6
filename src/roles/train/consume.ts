import type { RunConfig } from '../../config/schema.ts'
import { sharedKinds, traitsOf } from '../../config/store-kinds.ts'
import { finding } from '../../core/errors.ts'
import type { RankPlace } from '../../launch/topology.ts'
import { type Manifest, type PartsDone, waitForManifest } from '../../refs/manifest.ts'
import { verify } from '../../train/checkpoints/checkpoint.ts'
import type { RoleContext } from '../context.ts'
import { dataOf, type PreparedRun, prepareRun } from './prepare-run.ts'
import { ranksHere, trainRanks } from './train-ranks.ts'

export interface ReadyToTrain extends Pick<PreparedRun, 'newest' | 'finished'> {
  readonly places: readonly RankPlace[]
}

/**
 * The training pool on this machine: waits for the manifest, then trains one process per rank to the end of the run.
 * Goes on from the newest checkpoint in run.dir; a run that is finished is left as it is. Loads no torch itself.
 * @throws PEER_FAILED or PEER_TIMEOUT when the producer does not complete the manifest; what `trainRanks` throws.
 */
export async function consume(config: RunConfig, context: RoleContext): Promise<{ checkpoint: string; step: number }> {
  const { places, newest, finished } = await readyToTrain(config, context)
  if (finished && newest !== null) {
    await verify(newest)
    // The ranks train nothing more, but acknowledge the samples that a kill after the last checkpoint left claimed.
    if (!config.store.retain) await trainRanks(config, places, 'manifest', context)
    const step = newest.record.globalStep
    // Emitted again, so that the last event of a finished run is not an earlier failure.
    context.events.emit({ event: 'train.checkpoint', step, dir: newest.dir })
    return { checkpoint: newest.dir, step }
  }
  return trainRanks(config, places, 'manifest', context)
}

/** Waits for the manifests, and finds out where the run stands. */
export async function readyToTrain(config: RunConfig, context: RoleContext): Promise<ReadyToTrain> {
  if (!traitsOf(config.store).shared) {
    throw finding('CONFIG_INVALID', `a consumer cannot see the ${config.store.kind} store of a producer`, {
      field: 'store.kind',
      found: config.store.kind,
      fix: `use ${sharedKinds}, or train colocated`,
    })
  }
  const manifest = await waitFor(config.manifest, config, context)
  const named = config.train.validation?.manifest ?? null
  const validation = named === null ? null : await waitFor(named, config, context)
  const places = await ranksHere(config)
  const data = dataOf(manifest, validation)
  const { newest, finished } = await prepareRun(config, data, { rank: 0, worldSize: places.length })
  return { places, newest, finished }
}

async function waitFor(dir: string, config: RunConfig, { signal, events }: RoleContext): Promise<Manifest> {
  const timeoutSeconds = config.launch.peerTimeoutSeconds
  const onWait = (parts: PartsDone | null) => {
    events.emit({ event: 'train.waiting', manifest: dir, timeoutSeconds, ...(parts === null ? {} : { parts }) })
  }
  const manifest = await waitForManifest({ dir, signal, timeoutSeconds, onWait })
  // Checked once, here: a rank checks only the refs that it trains.
  manifest.refs.checkAll()
  return manifest
}
