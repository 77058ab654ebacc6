import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'

/** Keys of `launch` that need more than one node, which this version does not train on; and those that contradict others. */
export function launchProblems({
  launch,
  target,
}: Pick<RunConfig, 'launch' | 'target'>): readonly Omit<Problem, 'where'>[] {
  const problems: Omit<Problem, 'where'>[] = []
  if (launch.nodes !== 1) {
    const expected = '1: this version trains on one node; launch.ranksPerNode uses more GPUs of that node'
    problems.push({ field: 'launch.nodes', found: String(launch.nodes), expected })
  }
  if (launch.rendezvous !== null) {
    const expected = 'null, or no such key: this version trains on one node, so the ranks need no rendezvous'
    problems.push({ field: 'launch.rendezvous', found: launch.rendezvous, expected })
  }
  if (target.devices === 'all' && launch.processes !== 'auto' && launch.processes > 1) {
    const expected = '1 or auto: with target.devices all, one process uses all GPUs'
    problems.push({ field: 'launch.processes', found: String(launch.processes), expected })
  }
  return problems
}
