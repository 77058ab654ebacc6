import path from 'node:path'
import type { Command } from 'commander'
import { type RunFlags, withExamples, withRunFlags } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

type Flags = RunFlags & { readonly draft: string }

export function addEval(program: Command, stop: Stop): void {
  const command = program
    .command('eval')
    .description('measure tau by chain decoding, and check that the draft does not change the output')
  const examples = [
    'eval --draft runs/demo/checkpoints/step-000500',
    "eval --draft DIR --set 'eval.steps=[3, 5]' --json",
  ]
  withExamples(command, examples)
  withRunFlags(command)
    .requiredOption('--draft <dir>', 'a checkpoint, or a folder with model.safetensors and config.json')
    .action(async (flags: Flags) => {
      const [{ evaluate }, { runRole }] = await Promise.all([
        import('../../roles/evaluate/evaluate.ts'),
        import('../sessions/role-session.ts'),
      ])
      const draft = path.resolve(flags.draft)
      await runRole(flags, stop, {
        readOnly: true,
        hasManifest: false,
        run: (config, context) => evaluate(config, { draft }, context),
        hints: () => ({ draft }),
      })
    })
}
