import type { Command } from 'commander'
import type { RunConfig } from '../../config/schema.ts'
import { type RunFlags, SELF, withExamples, withRunFlags } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

type Flags = RunFlags & { readonly role?: string; readonly node?: string }

export function addRun(program: Command, stop: Stop): void {
  const command = program.command('run').description('run one role of the job: producer, consumer, or colocated (both)')
  withExamples(command, [
    'run --role producer',
    'run --role consumer',
    'run --role consumer --node 1/2',
    'run --role colocated',
    'run   # on each node of a job: see docs/nodes.md',
  ])
  withRunFlags(command)
    .option(
      '--role <role>',
      'producer, consumer or colocated; default: DISAGG_ROLE, else by node: the first launch.producers nodes produce, the others train',
    )
    .option(
      '--node <I/N>',
      'this is node I of the N nodes with this role, counted from 0; default: as the launcher says',
    )
    .action(async (flags: Flags) => {
      const [{ run }, { namedRole, poolPlace }, { configFlag, hintsAfterTraining, runRole }] = await Promise.all([
        import('../../roles/run.ts'),
        import('../../roles/pools.ts'),
        import('../sessions/role-session.ts'),
      ])
      // A mistyped role is told before any file is read.
      namedRole(flags.role, process.env)
      const place = ({ launch }: RunConfig) => {
        return poolPlace({ role: flags.role, node: flags.node, env: process.env, launch })
      }
      await runRole(flags, stop, {
        place,
        run: (config, context) => run(config, place(config), context),
        hints: ({ checkpoint }, eventNames, config) => {
          if (checkpoint !== undefined) return hintsAfterTraining(flags, checkpoint, eventNames, config)
          // The other nodes of a job have their own commands, and wait for the manifest.
          if (!place(config).isWholeJob) return { note: 'the nodes that train go on by themselves' }
          return { next: `${SELF} run ${configFlag(flags)} --role consumer` }
        },
      })
    })
}
