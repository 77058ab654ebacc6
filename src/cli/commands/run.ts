import type { Command } from 'commander'
import { type RunFlags, SELF, withExamples, withRunFlags } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

type Flags = RunFlags & { readonly role?: string }

export function addRun(program: Command, stop: Stop): void {
  const command = program.command('run').description('run one role of the job: producer, consumer, or colocated (both)')
  withExamples(command, ['run --role producer', 'run --role consumer', 'run --role colocated'])
  withRunFlags(command)
    .option(
      '--role <role>',
      'producer, consumer or colocated; default: DISAGG_ROLE, else by RCLI_NODE_RANK: 0 is the producer',
    )
    .action(async (flags: Flags) => {
      const [{ chooseRole, run }, { configFlag, hintsAfterTraining, runRole }] = await Promise.all([
        import('../../roles/run.ts'),
        import('../sessions/role-session.ts'),
      ])
      const role = chooseRole(flags.role, process.env)
      await runRole(flags, stop, {
        consumes: role === 'consumer',
        // In colocated training each rank has its samples in memory, and the config's manifest is not used.
        hasManifest: role !== 'colocated',
        run: (config, context) => run(config, role, context),
        hints: ({ checkpoint }, eventNames) => {
          if (checkpoint === undefined) return { next: `${SELF} run ${configFlag(flags)} --role consumer` }
          return hintsAfterTraining(flags, checkpoint, eventNames)
        },
      })
    })
}
