import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'

/** Keys of `launch` that contradict others. */
export function launchProblems({
  launch,
  target,
}: Pick<RunConfig, 'launch' | 'target'>): readonly Omit<Problem, 'where'>[] {
  const problems: Omit<Problem, 'where'>[] = []
  if (launch.nodes !== 'auto' && launch.producers > launch.nodes) {
    const expected = `at most launch.nodes, which is ${launch.nodes}`
    problems.push({ field: 'launch.producers', found: String(launch.producers), expected })
  }
  if (target.devices === 'all' && launch.processes !== 'auto' && launch.processes > 1) {
    const expected = '1 or auto: with target.devices all, one process uses all GPUs'
    problems.push({ field: 'launch.processes', found: String(launch.processes), expected })
  }
  return problems
}
