import type { RunConfig } from '../../config/schema.ts'
import { run } from '../../roles/run.ts'
import { type RunFlags, SELF } from '../flags.ts'
import { configFlag, runRole } from './role-session.ts'
import type { Stop } from './stop.ts'

/** Runs the producer with the source of the command (`capture` or `files`), which wins over features.source. */
export async function produceFrom(source: RunConfig['features']['source'], flags: RunFlags, stop: Stop): Promise<void> {
  await runRole(flags, stop, {
    run: (config, context) => {
      return run({ ...config, features: { ...config.features, source } }, 'producer', context)
    },
    hints: () => ({ next: `${SELF} train ${configFlag(flags)}` }),
  })
}
