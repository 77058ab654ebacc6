import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/** The arguments with which `node` runs a program of ours: as it is when built, through tsx from a checkout. */
export function nodeArguments(program: string): readonly string[] {
  if (!program.endsWith('.ts')) return [program]
  // Resolved from here, not from the working directory, which need not be the checkout.
  const loader = createRequire(import.meta.url).resolve('tsx')
  return ['--import', pathToFileURL(loader).href, program]
}
