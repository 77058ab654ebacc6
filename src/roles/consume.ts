import type { RunConfig } from '../config/schema.ts'
import { finding } from '../core/errors.ts'
import { waitForManifest } from '../refs/manifest.ts'
import { verify } from '../train/checkpoint.ts'
import type { RoleContext } from './context.ts'
import { dataOf, prepareRun } from './prepare-run.ts'
import { ranksHere, trainRanks } from './train-ranks.ts'

/**
 * The training pool on this machine: waits for the manifest, then trains one process per rank to the end of the run.
 * Goes on from the newest checkpoint in run.dir; a run that is finished is left as it is. Loads no torch itself.
 * @throws PEER_FAILED or PEER_TIMEOUT when the producer does not complete the manifest; what `trainRanks` throws.
 */
export async function consume(config: RunConfig, context: RoleContext): Promise<{ checkpoint: string; step: number }> {
  if (config.store.kind === 'local') {
    throw finding('CONFIG_INVALID', 'a consumer cannot see the local store of a producer', {
      field: 'store.kind',
      found: 'local',
      fix: 'use shared-dir, or train colocated',
    })
  }
  const { clock, signal } = context
  const timeoutSeconds = config.launch.peerTimeoutSeconds
  const dir = config.manifest
  const onWait = () => context.events.emit({ event: 'train.waiting', manifest: dir, timeoutSeconds })
  const manifest = await waitForManifest({ dir, clock, signal, timeoutSeconds, onWait })
  // Once, here: a rank looks only at what it trains.
  manifest.refs.checkAll()
  const places = await ranksHere(config)
  const { newest, finished } = await prepareRun(config, dataOf(manifest), { rank: 0, worldSize: places.length })
  if (finished && newest !== null) {
    await verify(newest)
    // Its ranks train no more, but a kill may have come between the last checkpoint and the samples that it frees.
    if (!config.store.retain) await trainRanks(config, places, 'manifest', context)
    const step = newest.record.globalStep
    // Said again, so that an earlier failure is not the last word about a run that is whole.
    context.events.emit({ event: 'train.checkpoint', step, dir: newest.dir })
    return { checkpoint: newest.dir, step }
  }
  return trainRanks(config, places, 'manifest', context)
}
