import path from 'node:path'
import { stringify } from 'yaml'
import { readTextOrNull, replaceFile } from '../core/files/atomic-file.ts'
import { makeFolder } from '../core/files/make-folder.ts'
import type { RunConfig } from './schema.ts'

export const RESOLVED_NAME = 'config.resolved.yaml'

/** The config with all defaults and absolute paths, as YAML. `loadConfig` reads the same values back from any folder. */
export function resolvedYaml(config: RunConfig): string {
  return stringify(config, { lineWidth: 0 })
}

/** Writes `config.resolved.yaml` to the run folder. Keeps an existing file unless `replace` is true. */
export async function writeResolvedConfig(config: RunConfig, { replace }: { replace: boolean }): Promise<string> {
  const file = path.join(config.run.dir, RESOLVED_NAME)
  await makeFolder(config.run.dir, 'run.dir')
  // Two roles of one run may write at the same time. The write is atomic, so a reader never sees a mix.
  if (replace || (await readTextOrNull(file)) === null) await replaceFile(file, resolvedYaml(config))
  return file
}
