import type { Command } from 'commander'
import { type RunFlags, SELF, withExamples, withRunFlags } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

type Flags = RunFlags & { readonly role?: string }

export function addRun(program: Command, stop: Stop): void {
  const command = program
    .command('run')
    .description('the part of the job that this process has: producer, consumer or both')
  withExamples(command, ['run --role producer', 'run --role consumer', 'run --role colocated'])
  withRunFlags(command)
    .option('--role <role>', 'producer, consumer or colocated; else DISAGG_ROLE, else node 0 produces (RCLI_NODE_RANK)')
    .action(async (flags: Flags) => {
      const [{ chooseRole, run }, { configFlag, runRole, trainedPlaces }] = await Promise.all([
        import('../../roles/run.ts'),
        import('../sessions/role-session.ts'),
      ])
      const role = chooseRole(flags.role, process.env)
      await runRole(flags, stop, () => ({
        embedsPython: role !== 'consumer',
        run: (config, context) => run(config, role, context),
        places: ({ checkpoint }, heard) => {
          if (checkpoint === undefined) return { next: `${SELF} run ${configFlag(flags)} --role consumer` }
          return trainedPlaces(flags, checkpoint, heard)
        },
      }))
    })
}
