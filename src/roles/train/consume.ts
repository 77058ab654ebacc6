import { existsSync } from 'node:fs'
import type { RunConfig } from '../../config/schema.ts'
import { sharedKinds, traitsOf } from '../../config/store-kinds.ts'
import { finding } from '../../core/errors.ts'
import type { RankPlace } from '../../launch/topology.ts'
import { type Manifest, type PartsDone, waitForManifest } from '../../refs/manifest.ts'
import { type Checkpoint, verify } from '../../train/checkpoints/checkpoint.ts'
import type { RoleContext } from '../context.ts'
import { onlyNodeOf, type PoolPlace } from '../pools.ts'
import { finishedRun } from './finished-run.ts'
import { dataOf, type PreparedRun, prepareRun, type TrainingData } from './prepare-run.ts'
import { ranksHere, type Trained, trainRanks } from './train-ranks.ts'

export interface ReadyToTrain extends Pick<PreparedRun, 'newest' | 'finished'> {
  readonly places: readonly RankPlace[]
}

/**
 * The training pool, or one node of it: waits for the manifest, then trains one process per rank to the end of the run.
 * Goes on from the newest checkpoint in run.dir; a run that is finished is left as it is. Loads no torch itself.
 * @throws PEER_FAILED or PEER_TIMEOUT when the producer does not complete the manifest, or another node does not come or
 * fails; what `trainRanks` throws.
 */
export async function consume(
  config: RunConfig,
  context: RoleContext,
  place: PoolPlace = onlyNodeOf('consumer'),
): Promise<Trained> {
  if (place.nodes > 1) return consumeWithOthers(config, context, place)
  const { places, newest, finished } = await readyToTrain(config, context)
  if (!finished || newest === null) return trainRanks(config, places, 'manifest', context)
  await verify(newest)
  // The ranks train nothing more, but acknowledge the samples that a kill after the last checkpoint left claimed.
  if (!config.store.retain) await trainRanks(config, places, 'manifest', context)
  return finishedBefore(newest, context)
}

async function consumeWithOthers(config: RunConfig, context: RoleContext, place: PoolPlace): Promise<Trained> {
  const data = await dataToTrain(config, context)
  const finished = await finishedRun(config, data)
  if (finished !== null && config.store.retain) {
    if (place.node === 0) await verify(finished)
    return finishedBefore(finished, context)
  }
  const { trainAsFirstNode, trainAsOtherNode } = await import('./train-pool.ts')
  const trained = await (place.node === 0 ? trainAsFirstNode : trainAsOtherNode)({ config, data, place, context })
  return finished === null ? trained : finishedBefore(finished, context)
}

function finishedBefore({ dir, record }: Checkpoint, { events }: RoleContext): Trained {
  const step = record.globalStep
  // Emitted again, so that the last event of a finished run is not an earlier failure.
  events.emit({ event: 'train.checkpoint', step, dir })
  return { checkpoint: dir, step }
}

/** Waits for the manifests, and finds out where the run stands. */
export async function readyToTrain(config: RunConfig, context: RoleContext): Promise<ReadyToTrain> {
  const data = await dataToTrain(config, context)
  const places = await ranksHere(config)
  const { newest, finished } = await prepareRun(config, data, { rank: 0, worldSize: places.length })
  return { places, newest, finished }
}

/** Waits for the manifests. */
export async function dataToTrain(config: RunConfig, context: RoleContext): Promise<TrainingData> {
  if (!traitsOf(config.store).shared) {
    throw finding('CONFIG_INVALID', `a consumer cannot see the ${config.store.kind} store of a producer`, {
      field: 'store.kind',
      found: config.store.kind,
      fix: `use ${sharedKinds}, or train colocated`,
    })
  }
  expectTarget(config.target.model)
  const manifest = await waitFor(config.manifest, config, context)
  const named = config.train.validation?.manifest ?? null
  return dataOf(manifest, named === null ? null : await waitFor(named, config, context))
}

/** Told before the wait: the head and the embedding are read from the target's files. */
function expectTarget(model: string): void {
  if (existsSync(model)) return
  throw finding('CONFIG_INVALID', 'the target is not there', {
    file: model,
    field: 'target.model',
    found: 'no such file or folder',
    fix: 'name the folder or the .gguf file of the target that made the features',
  })
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
