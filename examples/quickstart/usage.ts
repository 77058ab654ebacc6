export const USAGE = `Usage: npm run quickstart [-- --fresh]

  --fresh  begin again; what an earlier start left in runs/quickstart is deleted
  --help   show this text
`

/** What the command line asks for, or the argument that it should not have. */
export type Asked =
  | { readonly what: 'run' | 'fresh' | 'help' }
  | { readonly what: 'unknown'; readonly argument: string }

export function askedFor(args: readonly string[]): Asked {
  const argument = args.find((arg) => !['--fresh', '--help', '-h'].includes(arg))
  if (args.includes('--help') || args.includes('-h')) return { what: 'help' }
  if (argument !== undefined) return { what: 'unknown', argument }
  return { what: args.includes('--fresh') ? 'fresh' : 'run' }
}
