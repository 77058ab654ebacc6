import type { Python } from '../../bridge/python.ts'
import type { RankPlace } from '../../launch/topology.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import { settleEarlier } from '../../train/data/settle-earlier.ts'
import { validationRounds } from '../../train/validation/validation-rounds.ts'
import { Validator, type ValidatorOptions } from '../../train/validation/validator.ts'
import type { PreparedRun, TrainingConfig, TrainingData } from './prepare-run.ts'

export interface HeldOutSources {
  readonly config: TrainingConfig
  readonly data: TrainingData
  readonly store: FeatureStore
  readonly python: Python
  readonly place: Pick<RankPlace, 'rank' | 'worldSize'>
}

type Reading = Pick<ValidatorOptions, 'maxLength' | 'prefetch' | 'prefetchBytes' | 'onLost'>

/** One rank's validator. Null where the run has no validation. */
export function validatorOf(
  { config, data, store, python, place }: HeldOutSources,
  run: PreparedRun,
  session: number,
  reading: Reading,
): Validator | null {
  const { validation, maxCorruptShare: share, batch } = config.train
  if (validation === null || run.validation === null) return null
  const { refs, lengths } = run.validation
  const mayLose = { samples: data.refs.length, share }
  const { rank, worldSize } = place
  const rounds = validationRounds(lengths, { batch, rank, worldSize })
  return new Validator({ python, session, store, refs, mayLose, rounds, every: validation.every, ...reading })
}

/**
 * Each validation claims samples that are consumed once, and gives them back. After the last validation this consumes
 * them like training samples, but not those of train.validation.manifest: other runs may need them.
 */
export async function settleHeldOut({ config, store, place }: HeldOutSources, run: PreparedRun): Promise<void> {
  const { validation, batch } = config.train
  if (store.retain || run.validation === null || validation?.share == null) return
  const { refs, lengths } = run.validation
  const { rank, worldSize } = place
  const steps = validationRounds(lengths, { batch, rank, worldSize })
  await settleEarlier({ store, refs, steps, before: Number.POSITIVE_INFINITY })
}
