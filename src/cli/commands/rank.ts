import type { Command } from 'commander'
import { type RunFlags, withExamples, withRunFlags } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

export function addRank(program: Command, stop: Stop): void {
  const command = program
    .command('rank')
    .description('train as one rank that torchrun, srun or another launcher has started')
  withExamples(command, ['rank -c FILE   # after `torchrun ... --no-python` or `srun ...`: see docs/nodes.md'])
  withRunFlags(command).action(async (flags: RunFlags) => {
    const { runLaunchedRank } = await import('../sessions/rank-session.ts')
    await runLaunchedRank(flags, stop)
  })
}
