import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'

/** Keys of `launch` that need more than one node. This version trains on one node, so they would have no effect. */
export function launchProblems({ launch }: Pick<RunConfig, 'launch'>): readonly Omit<Problem, 'where'>[] {
  const problems: Omit<Problem, 'where'>[] = []
  if (launch.nodes !== 1) {
    const expected = '1: this version trains on one node; launch.ranksPerNode uses more GPUs of that node'
    problems.push({ field: 'launch.nodes', found: String(launch.nodes), expected })
  }
  if (launch.rendezvous !== null) {
    const expected = 'null, or no such key: this version trains on one node, so the ranks need no rendezvous'
    problems.push({ field: 'launch.rendezvous', found: launch.rendezvous, expected })
  }
  return problems
}
