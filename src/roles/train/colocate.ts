import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import type { RoleContext } from '../context.ts'
import { ranksHere, trainRanks } from './train-ranks.ts'

/**
 * Both pools in one process tree: every rank makes the features itself, keeps them in its own memory, and trains.
 * The baseline that disaggregated training must equal to the last bit. `store` and `manifest` of the config are unused.
 */
export async function colocate(config: RunConfig, context: RoleContext): Promise<{ checkpoint: string; step: number }> {
  if (config.train.validation?.manifest != null) {
    throw finding('CONFIG_INVALID', 'colocated training reads no manifest', {
      field: 'train.validation.manifest',
      found: config.train.validation.manifest,
      fix: 'use train.validation.share, or train as a consumer',
    })
  }
  return trainRanks(config, await ranksHere(config), 'local', context)
}
