import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/** The arguments for `node` to run a program of this package: built code directly, TypeScript of a checkout through tsx. */
export function nodeArguments(program: string): readonly string[] {
  if (!program.endsWith('.ts')) return [program]
  // Resolved from this file, because the current folder may be outside the checkout.
  const loader = createRequire(import.meta.url).resolve('tsx')
  return ['--import', pathToFileURL(loader).href, program]
}
