export const USAGE = `Usage: npm run quickstart [-- --fresh]

  --fresh  start again; deletes runs/quickstart first
  --help   show this text
`

/** What the command line asks for, or an argument that does not exist. */
export type QuickstartRequest =
  | { readonly what: 'run' | 'fresh' | 'help' }
  | { readonly what: 'unknown'; readonly argument: string }

export function parseQuickstartArgs(args: readonly string[]): QuickstartRequest {
  const argument = args.find((arg) => !['--fresh', '--help', '-h'].includes(arg))
  if (args.includes('--help') || args.includes('-h')) return { what: 'help' }
  if (argument !== undefined) return { what: 'unknown', argument }
  return { what: args.includes('--fresh') ? 'fresh' : 'run' }
}
