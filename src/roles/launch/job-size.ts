import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'

export interface JobSize {
  readonly nodes: number
  readonly producers: number
  readonly consumers: number
}

/** How many nodes a job has that this program starts. @throws CONFIG_INVALID when the config leaves it to a launcher. */
export function jobSize({ launch: { nodes, producers } }: RunConfig): JobSize {
  if (nodes !== 'auto' && nodes > 1) return { nodes, producers, consumers: nodes - producers }
  throw finding('CONFIG_INVALID', 'the number of nodes of the job is not known', {
    field: 'launch.nodes',
    found: String(nodes),
    fix: 'set launch.nodes to the nodes of both pools together, such as 2, and launch.producers to those that produce',
  })
}
