import { joinLauncher } from '../../roles/train/launched.ts'
import type { RunFlags } from '../flags.ts'
import { hintsAfterTraining, runRole } from './role-session.ts'
import type { Stop } from './stop.ts'

/** Runs one rank to its end, and tells its launcher why it failed. */
export async function runLaunchedRank(flags: RunFlags, stop: Stop): Promise<void> {
  const launched = joinLauncher(process.env)
  const session = runRole(flags, stop, {
    place: () => launched.place,
    run: (config, context) => launched.train(config, context),
    hints: ({ checkpoint }, eventNames, config) => hintsAfterTraining(flags, checkpoint, eventNames, config),
  })
  await session.catch(async (error: unknown) => {
    await launched.tell(error)
    throw error
  })
}
