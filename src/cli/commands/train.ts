import type { Command } from 'commander'
import { type RunFlags, withExamples, withRunFlags } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

type Flags = RunFlags & { readonly dryRun?: boolean }

export function addTrain(program: Command, stop: Stop): void {
  const command = program
    .command('train')
    .description('train the draft on this node: one rank per GPU, from a manifest to checkpoints')
  withExamples(command, [
    'train',
    'train --dry-run',
    'train -c runs/a.yaml --set train.epochs=3',
    'train --set train.validation.share=0.02 --set train.tensorboard=true',
    "train --json-lines | jq '.loss // empty'",
  ])
  withRunFlags(command)
    .option('--dry-run', 'run one real optimiser step, print its time and memory, write nothing to disk')
    .action(async (flags: Flags) => {
      if (flags.dryRun === true) {
        const { runDryRun } = await import('../sessions/dry-run-session.ts')
        return runDryRun(flags, stop)
      }
      const [{ run }, { onlyNodeOf }, { hintsAfterTraining, runRole }] = await Promise.all([
        import('../../roles/run.ts'),
        import('../../roles/pools.ts'),
        import('../sessions/role-session.ts'),
      ])
      await runRole(flags, stop, {
        place: () => onlyNodeOf('consumer'),
        run: (config, context) => run(config, onlyNodeOf('consumer'), context),
        hints: ({ checkpoint = 'DIR' }, eventNames, config) =>
          hintsAfterTraining(flags, checkpoint, eventNames, config),
      })
    })
}
