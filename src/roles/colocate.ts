import type { RunConfig } from '../config/schema.ts'
import type { RoleContext } from './context.ts'
import { ranksHere, trainRanks } from './train-ranks.ts'

/**
 * Both pools in one process tree: every rank makes the features itself, keeps them in its own memory, and trains.
 * The baseline that disaggregated training must equal to the last bit. `store` and `manifest` of the config are unused.
 */
export async function colocate(config: RunConfig, context: RoleContext): Promise<{ checkpoint: string; step: number }> {
  return trainRanks(config, await ranksHere(config), 'local', context)
}
