import type { Command } from 'commander'
import { type CommonFlags, withCommonFlags, withExamples } from '../flags.ts'

export function addExplain(program: Command): void {
  const command = program
    .command('explain')
    .description('explain an error code: cause, fix, exit status')
    .argument('[code]')
  withExamples(command, ['explain SAMPLE_STALE', 'explain'])
  withCommonFlags(command)
    .option('--json', 'print one JSON document on stdout')
    .action(async (code: string | undefined, flags: CommonFlags) => {
      const { explain, explainAll } = await import('../texts/explain.ts')
      const known = code === undefined ? explainAll() : explain(code)
      if ('unknown' in known) command.error(`error: ${known.unknown}`)
      else process.stdout.write(flags.json === true ? `${JSON.stringify(known.data, null, 2)}\n` : `${known.text}\n`)
    })
}
