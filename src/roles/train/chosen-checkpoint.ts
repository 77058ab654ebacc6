import { createHash } from 'node:crypto'
import path from 'node:path'
import type { Python } from '../../bridge/python.ts'
import { finding } from '../../core/errors.ts'
import { CheckpointFolder } from '../../train/checkpoints/checkpoint.ts'
import { canonical } from '../../train/checkpoints/checkpoint-record.ts'
import { jobSettings } from './job-settings.ts'
import type { CheckpointUse, ChosenCheckpoint, TrainingConfig, TrainingData } from './prepare-run.ts'

/** Hex digits of the digest of the settings that the ranks compare: a number that int64 holds. */
const DIGITS = 12

interface ResumeRequest {
  readonly config: TrainingConfig
  readonly data: TrainingData
  readonly python: Python
  readonly place: { readonly rank: number }
  readonly store: { readonly retain: boolean }
  readonly checkpoints?: CheckpointUse
}

/**
 * The checkpoint to go on from. For `agreed` a collective: all ranks get the step that rank 0 has found.
 * @throws CONFIG_INVALID when the ranks that agree have different settings.
 */
export async function chosenCheckpoint(options: ResumeRequest): Promise<ChosenCheckpoint> {
  const { config, data, place, store, python, checkpoints = {} } = options
  const { resumeFrom, ...others } = checkpoints
  if (resumeFrom !== 'agreed') return resumeFrom === undefined ? others : { ...others, resumeFrom }
  const settings = canonical(await jobSettings(config, data, store.retain))
  const digest = Number.parseInt(createHash('sha256').update(settings).digest('hex').slice(0, DIGITS), 16)
  const { numbers: different } = await python.call('dist.union', { numbers: [digest] })
  if (different.length > 1) throw otherSettings(different.length)
  const newest = place.rank === 0 ? await new CheckpointFolder(path.join(config.run.dir, 'checkpoints')).newest() : null
  const own = newest === null ? [] : [newest.record.globalStep]
  const { numbers } = await python.call('dist.union', { numbers: own })
  return { ...others, resumeFrom: numbers[0] ?? null }
}

const otherSettings = (found: number): Error =>
  finding('CONFIG_INVALID', 'the ranks of this job have different settings', {
    field: 'run, data, draft, train, manifest, version of draftbridge',
    found: `${found} different ones`,
    fix: 'start all nodes with the same config and the same version of draftbridge',
  })
