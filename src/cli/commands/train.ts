import type { Command } from 'commander'
import { type RunFlags, SELF, withExamples, withRunFlags } from '../flags.ts'
import type { Stop } from '../stop.ts'

export function addTrain(program: Command, stop: Stop): void {
  const command = program.command('train').description('manifest -> ranks on this node -> draft checkpoints')
  withExamples(command, ['train', 'train -c runs/a.yaml --set train.epochs=3', 'train --json-lines | jq .loss'])
  withRunFlags(command).action(async (flags: RunFlags) => {
    const [{ run }, { configFlag, runRole }] = await Promise.all([
      import('../../roles/run.ts'),
      import('../role-session.ts'),
    ])
    await runRole(flags, stop, () => ({
      embedsPython: false,
      run: (config, context) => run(config, 'consumer', context),
      places: ({ checkpoint = 'DIR' }) => ({ next: `${SELF} eval ${configFlag(flags)} --draft ${checkpoint}` }),
    }))
  })
}
