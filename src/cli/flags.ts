import type { Command } from 'commander'

/** What every command understands. */
export interface CommonFlags {
  readonly quiet?: boolean
  readonly verbose?: boolean
  readonly json?: boolean
}

/** What every command that works on a config understands. */
export interface RunFlags extends CommonFlags {
  readonly config: string
  readonly set: readonly string[]
  readonly jsonLines?: boolean
}

export const DEFAULT_CONFIG = 'draftbridge.yaml'

/** How this program is typed: from a checkout it runs through npm. */
export const SELF = import.meta.url.endsWith('.ts') ? 'npm run cli --' : 'draftbridge'

/** Help begins with what people come for: lines to copy. */
export function withExamples(command: Command, examples: readonly string[]): Command {
  const lines = examples.map((example) => `  $ draftbridge ${example}`)
  return command.addHelpText('before', `Examples:\n${lines.join('\n')}\n`)
}

export function withCommonFlags(command: Command): Command {
  return command
    .option('-q, --quiet', 'only errors on stderr')
    .option('-v, --verbose', 'stack traces and Python tracebacks with errors')
}

export function withConfigFlags(command: Command): Command {
  const collect = (value: string, before: readonly string[]): string[] => [...before, value]
  return withCommonFlags(command)
    .option('-c, --config <file>', 'the config, YAML or JSON; paths in it start at its folder', DEFAULT_CONFIG)
    .option('--set <key=value>', 'set one key of the config, as in train.epochs=3; may be repeated', collect, [])
}

export function withRunFlags(command: Command): Command {
  return withConfigFlags(command)
    .option('--json', 'print one JSON document on stdout at the end')
    .addOption(command.createOption('--json-lines', 'print events on stdout as they happen').conflicts('json'))
}
