import type { Command } from 'commander'

/** Flags of every command. */
export interface CommonFlags {
  readonly quiet?: boolean
  readonly verbose?: boolean
  readonly json?: boolean
}

/** Flags of every command that reads a config. */
export interface RunFlags extends CommonFlags {
  readonly config: string
  readonly set: readonly string[]
  readonly jsonLines?: boolean
  /** False with `--no-samples`. */
  readonly samples?: boolean
}

export const DEFAULT_CONFIG = 'draftbridge.yaml'

/** How the user starts this program: from a checkout it runs through npm. */
export const SELF = import.meta.url.endsWith('.ts') ? 'npm run cli --' : 'draftbridge'

/** Puts examples first in the help text, because most readers want a line to copy. */
export function withExamples(command: Command, examples: readonly string[]): Command {
  const lines = examples.map((example) => `  $ draftbridge ${example}`)
  return command.addHelpText('before', `Examples:\n${lines.join('\n')}\n`)
}

export function withCommonFlags(command: Command): Command {
  return command
    .option('-q, --quiet', 'print only errors on stderr')
    .option('-v, --verbose', 'print stack traces and Python tracebacks of errors')
}

export function withConfigFlags(command: Command): Command {
  const collect = (value: string, before: readonly string[]): string[] => [...before, value]
  return withCommonFlags(command)
    .option('-c, --config <file>', 'the config, YAML or JSON; its relative paths start at its folder', DEFAULT_CONFIG)
    .option('--set <key=value>', 'set one config key, for example train.epochs=3; may be repeated', collect, [])
}

export function withRunFlags(command: Command): Command {
  return withConfigFlags(command)
    .option('--json', 'print one JSON document on stdout at the end')
    .option('--no-samples', 'show no samples as text in report.html')
    .addOption(command.createOption('--json-lines', 'print each event as one JSON line on stdout').conflicts('json'))
}

export interface ReplaceFlag {
  readonly replace?: boolean
}

export const withReplaceFlag = (command: Command): Command =>
  command.option('--replace', 'replace samples that another complete manifest of the store lists')

/** `--replace` is the key features.replace. */
export const replaceSet = ({ replace }: ReplaceFlag): readonly string[] =>
  replace === true ? ['features.replace=true'] : []
