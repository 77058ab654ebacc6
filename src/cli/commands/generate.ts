import type { Command } from 'commander'
import { type RunFlags, SELF, withExamples, withRunFlags } from '../flags.ts'
import { type PartFlag, partOf, withPartFlag } from '../part-flag.ts'
import type { Stop } from '../sessions/stop.ts'

export function addGenerate(program: Command, stop: Stop): void {
  const command = program
    .command('generate')
    .description('let the target write the answers of conversations, or whole conversations, for a draft to learn from')
  withExamples(command, [
    'generate --set generate.out=answers.jsonl',
    'generate --set generate.out=talk.jsonl --set generate.magpie=1000',
    'generate --part 0/4 --set generate.out=answers.jsonl',
  ])
  withPartFlag(withRunFlags(command)).action(async (flags: RunFlags & PartFlag) => {
    const [{ generate }, { configFlag, runRole, without }, { shellWord }] = await Promise.all([
      import('../../roles/generate/generate.ts'),
      import('../sessions/role-session.ts'),
      import('../texts/shell-word.ts'),
    ])
    const part = await partOf(flags, command)
    await runRole(flags, stop, {
      readOnly: true,
      hasManifest: false,
      run: (config, context) => generate(config, part, context),
      hints: ({ out, written }) =>
        written === 0
          ? { note: 'no conversation was written, so there is nothing to capture' }
          : {
              next: `${SELF} capture ${configFlag(without(flags, 'data.conversations'))} --set data.conversations=${shellWord(out)}`,
            },
    })
  })
}
