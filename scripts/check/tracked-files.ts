import { readFile } from 'node:fs/promises'
import path from 'node:path'

const LONGEST = 300
const SOURCE = /\.(ts|mts|mjs|cjs|js|py)$/

// Which index serves packages is a setting of each machine, not of the repository. The words are split, because this file
// must obey its own rule.
const ADDRESSES = ['"resolved' + '":', '--index' + '-url', '--extra-index' + '-url', 'registry' + '=http']

interface Verdict {
  readonly ok: boolean
  readonly output: string
}

/** The faults of one file, a line each. */
export function faultsOf(file: string, text: string): string[] {
  const faults: string[] = []
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
  if (SOURCE.test(file) && lines > LONGEST) faults.push(`${file}: ${lines} lines, more than ${LONGEST}`)
  for (const mark of ADDRESSES) if (text.includes(mark)) faults.push(`${file}: names where packages come from: ${mark}`)
  return faults
}

/** Rules for all tracked files; `listing` is the output of `git ls-files -z`. */
export async function checkTrackedFiles(root: string, listing: Verdict): Promise<Verdict> {
  if (!listing.ok) return listing
  const files = listing.output.split('\0').filter((file) => file !== '')
  const faults = await Promise.all(files.map(async (file) => faultsOf(file, await textOf(path.join(root, file)))))
  const output = faults.flat().join('\n')
  return { ok: output === '' && files.length > 0, output: files.length > 0 ? output : 'git lists no file' }
}

/** The text of a file; empty when it is removed or binary. */
async function textOf(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.includes('\0') ? '' : text
}
