import type { Command } from 'commander'
import { withConfigFlags, withExamples } from '../flags.ts'
import type { LaunchFlags } from '../sessions/launch-session.ts'
import type { Stop } from '../sessions/stop.ts'

export function addLaunch(program: Command, stop: Stop): void {
  const command = program
    .command('launch')
    .description('start both pools of a job, or write the job file for the engine that does')
  withExamples(command, [
    'launch --on local --set launch.nodes=3',
    "launch --on slurm --out job.sh --sbatch '--partition=gpu' --sbatch '--gpus-per-node=8'",
    'launch --on rcli',
  ])
  const collect = (value: string, before: readonly string[]): string[] => [...before, value]
  withConfigFlags(command)
    .addOption(
      command
        .createOption('--on <engine>', 'local: all nodes on this machine; slurm: a script for sbatch; rcli: its line')
        .choices(['local', 'rcli', 'slurm'])
        .makeOptionMandatory(),
    )
    .option('--out <file>', 'write the job file here; default: print it')
    .option('--sbatch <option>', 'an option of sbatch for the nodes of both pools; may be repeated', collect, [])
    .option('--restarts <n>', 'how often Slurm queues a failed or stopped job again', '3')
    .action(async (flags: LaunchFlags) => {
      const { launch } = await import('../sessions/launch-session.ts')
      await launch(flags, stop)
    })
}
