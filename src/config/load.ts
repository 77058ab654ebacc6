import path from 'node:path'
import { envOverrides, type Override, setOverrides, withOverride, withoutEmptySections } from './layers.ts'
import { resolvePaths } from './paths.ts'
import { configInvalid, dotted, type Problem, problemsOf } from './problem.ts'
import { RunConfig } from './schema.ts'
import type { KeyPath } from './schema-tree.ts'
import { type ConfigSource, readConfigSource } from './source.ts'
import { storeProblems } from './store-problems.ts'
import { trainProblems } from './train-problems.ts'

export interface ConfigRequest {
  readonly file: string
  readonly env: NodeJS.ProcessEnv
  /** `a.b=c`, as `--set` takes it; later ones win. */
  readonly sets?: readonly string[]
}

/**
 * The config of a run: schema defaults < file < environment < `--set`, with absolute paths.
 * @throws CONFIG_INVALID with every problem at once, each with its place, what was found and what fits.
 */
export async function loadConfig({ file, env, sets = [] }: ConfigRequest): Promise<RunConfig> {
  const source = await readConfigSource(path.resolve(file))
  const layers = [envOverrides(env), setOverrides(sets)]
  const overrides = layers.flatMap((layer) => layer.overrides)
  const tree = overrides.reduce<unknown>(withOverride, withoutEmptySections(source.value))
  const locate = (keyPath: KeyPath): string => originOf(keyPath, overrides, source) ?? source.locate(keyPath)
  const problems: Problem[] = layers.flatMap((layer) => layer.problems)

  const parsed = RunConfig.safeParse(tree)
  if (!parsed.success) throw configInvalid([...problemsOf(parsed.error.issues, { tree, locate }), ...problems])
  const { config, unset } = resolvePaths(parsed.data, { folder: path.dirname(path.resolve(file)), env })
  const found = [...unset, ...storeProblems(parsed.data), ...trainProblems(config)]
  problems.push(...found.map((problem) => ({ ...problem, where: locate(problem.field.split('.')) })))
  if (problems.length > 0) throw configInvalid(problems)
  return config
}

/**
 * The last override that gave this key, or a section around it, is the one the reader has to change. A section that the
 * file does not have is there only because of what an override put into it.
 */
function originOf(keyPath: KeyPath, overrides: readonly Override[], source: ConfigSource): string | undefined {
  const key = `${dotted(keyPath)}.`
  const gave = overrides.findLast((override) => key.startsWith(`${override.keyPath.join('.')}.`))
  if (gave !== undefined || source.has(keyPath)) return gave?.origin
  return overrides.findLast((override) => `${override.keyPath.join('.')}.`.startsWith(key))?.origin
}
