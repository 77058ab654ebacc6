import path from 'node:path'
import type { Command } from 'commander'
import { type CommonFlags, DEFAULT_CONFIG, SELF, withCommonFlags, withExamples } from '../flags.ts'

export function addInit(program: Command): void {
  const command = program
    .command('init')
    .description('write a commented draftbridge.yaml')
    .argument('[dir]', 'the folder to write it to', '.')
  withExamples(command, ['init', 'init runs/first'])
  withCommonFlags(command).action(async (dir: string, flags: CommonFlags) => {
    const { writeNewFile } = await import('../new-config.ts')
    const file = path.join(path.resolve(dir), DEFAULT_CONFIG)
    await writeNewFile(file)
    if (flags.quiet === true) return
    const shown = path.relative(process.cwd(), file)
    process.stderr.write(
      `wrote ${shown}\nnext: set target.model and data.conversations in it, then run ${SELF} doctor -c ${shown}\n`,
    )
  })
}
