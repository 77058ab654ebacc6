import type { Command } from 'commander'
import { type RunFlags, withExamples, withRunFlags } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

type Flags = RunFlags & { readonly dryRun?: boolean }

export function addTrain(program: Command, stop: Stop): void {
  const command = program.command('train').description('manifest -> ranks on this node -> draft checkpoints')
  withExamples(command, [
    'train',
    'train --dry-run',
    'train -c runs/a.yaml --set train.epochs=3',
    'train --set train.validation.share=0.02 --set train.tensorboard=true',
    "train --json-lines | jq '.loss // empty'",
  ])
  withRunFlags(command)
    .option('--dry-run', 'make one optimiser step with everything real, show what it takes, and keep nothing of it')
    .action(async (flags: Flags) => {
      if (flags.dryRun === true) {
        const { rehearseRun } = await import('../sessions/dry-run-session.ts')
        return rehearseRun(flags, stop)
      }
      const [{ run }, { runRole, trainedPlaces }] = await Promise.all([
        import('../../roles/run.ts'),
        import('../sessions/role-session.ts'),
      ])
      await runRole(flags, stop, () => ({
        embedsPython: false,
        run: (config, context) => run(config, 'consumer', context),
        places: ({ checkpoint = 'DIR' }, heard) => trainedPlaces(flags, checkpoint, heard),
      }))
    })
}
