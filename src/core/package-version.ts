import { readFile } from 'node:fs/promises'

/** The version of draftbridge, as its package.json says. */
export async function packageVersion(): Promise<string> {
  const file = new URL('../../package.json', import.meta.url)
  const about: unknown = JSON.parse(await readFile(file, 'utf8'))
  return typeof about === 'object' && about !== null && 'version' in about ? String(about.version) : 'unknown'
}
