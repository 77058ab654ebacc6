import path from 'node:path'
import { z } from 'zod'
import type { RunConfig } from '../../config/schema.ts'
import { type Checkpoint, CheckpointFolder } from '../../train/checkpoints/checkpoint.ts'
import type { CheckpointRecord } from '../../train/checkpoints/checkpoint-record.ts'
import { prepareRun, type TrainingData } from './prepare-run.ts'

/**
 * The last checkpoint of a run that was trained to its end, whatever the number of its ranks; null for any other run.
 * @throws CHECKPOINT_INVALID when it is the checkpoint of a run with other settings.
 */
export async function finishedRun(config: RunConfig, data: TrainingData): Promise<Checkpoint | null> {
  const newest = await new CheckpointFolder(path.join(config.run.dir, 'checkpoints')).newest()
  if (newest === null || newest.record.globalStep < newest.record.totalSteps) return null
  const { finished } = await prepareRun(config, data, { rank: 0, worldSize: ranksLike(newest.record, config) })
  return finished ? newest : null
}

const Global = z.looseObject({ samples: z.number() })

/** The number of ranks with which this config has the global batches of the run: a run may go on with others. */
function ranksLike({ worldSize, identity }: CheckpointRecord, { train }: RunConfig): number {
  const all = Global.safeParse(identity['train.batch (all ranks)']).data?.samples
  if (all === undefined || !('samples' in train.batch)) return worldSize
  const ranks = all / train.batch.samples
  return Number.isInteger(ranks) ? ranks : worldSize
}
