import path from 'node:path'
import { launchProblems } from './launch-problems.ts'
import { envOverrides, type Override, setOverrides, withOverride, withoutEmptySections } from './layers.ts'
import { resolvePaths } from './paths.ts'
import { configInvalid, dotted, type Problem, problemsOf } from './problem.ts'
import { RunConfig } from './schema.ts'
import type { KeyPath } from './schema-tree.ts'
import { type ConfigSource, readConfigSource } from './source.ts'
import { storeProblems } from './store-problems.ts'
import { targetProblems } from './target-problems.ts'
import { consumerProblems, trainProblems } from './train-problems.ts'

export interface ConfigRequest {
  readonly file: string
  readonly env: NodeJS.ProcessEnv
  /** `a.b=c`, as in `--set`; later ones win. */
  readonly sets?: readonly string[]
  /** Whether the command trains from the store. Default: it does not. */
  readonly consumes?: (config: RunConfig) => boolean
}

/**
 * The config of a run: schema defaults < file < environment < `--set`, with absolute paths.
 * @throws CONFIG_INVALID that lists every problem with its place, the value found and the values allowed.
 */
export async function loadConfig({ file, env, sets = [], consumes = () => false }: ConfigRequest): Promise<RunConfig> {
  const source = await readConfigSource(path.resolve(file))
  const layers = [envOverrides(env), setOverrides(sets)]
  const overrides = layers.flatMap((layer) => layer.overrides)
  const tree = overrides.reduce<unknown>(withOverride, withoutEmptySections(source.value))
  const locate = (keyPath: KeyPath): string => originOf(keyPath, overrides, source) ?? source.locate(keyPath)
  const problems: Problem[] = layers.flatMap((layer) => layer.problems)

  const parsed = RunConfig.safeParse(tree)
  if (!parsed.success) throw configInvalid([...problemsOf(parsed.error.issues, { tree, locate }), ...problems])
  const { config, unset } = resolvePaths(parsed.data, { folder: path.dirname(path.resolve(file)), env })
  const conflicts = [
    ...storeProblems(parsed.data),
    ...trainProblems(config),
    ...targetProblems(config),
    ...launchProblems(config),
  ]
  if (consumes(config)) conflicts.push(...consumerProblems(config))
  const unlocated = [...unset, ...conflicts]
  problems.push(...unlocated.map((problem) => ({ ...problem, where: locate(problem.field.split('.')) })))
  if (problems.length > 0) throw configInvalid(problems)
  return config
}

/**
 * The last override that set this key or a section around it: the user must change that one. For a section that the file
 * does not have, the last override of a key inside it.
 */
function originOf(keyPath: KeyPath, overrides: readonly Override[], source: ConfigSource): string | undefined {
  const key = `${dotted(keyPath)}.`
  const setter = overrides.findLast((override) => key.startsWith(`${override.keyPath.join('.')}.`))
  if (setter !== undefined || source.has(keyPath)) return setter?.origin
  return overrides.findLast((override) => `${override.keyPath.join('.')}.`.startsWith(key))?.origin
}
