import path from 'node:path'
import type { RunConfig } from '../../config/schema.ts'
import { type Checkpoint, CheckpointFolder } from '../../train/checkpoints/checkpoint.ts'
import { prepareRun, type TrainingData } from './prepare-run.ts'

/**
 * The last checkpoint of a run that was trained to its end, whatever the number of its ranks; null for any other run.
 * @throws CHECKPOINT_INVALID when it is the checkpoint of a run with other settings.
 */
export async function finishedRun(config: RunConfig, data: TrainingData): Promise<Checkpoint | null> {
  const newest = await new CheckpointFolder(path.join(config.run.dir, 'checkpoints')).newest()
  if (newest === null || newest.record.globalStep < newest.record.totalSteps) return null
  const { finished } = await prepareRun(config, data, { rank: 0, worldSize: newest.record.worldSize })
  return finished ? newest : null
}
