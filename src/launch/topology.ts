import { z } from 'zod'
import { finding } from '../core/errors.ts'

/** Where one rank stands in the job: all it needs to know to find the others and its own device. */
export const RankPlace = z.strictObject({
  rank: z.number().int().nonnegative(),
  /** Its number among the ranks of its node, which is also the number of its GPU. */
  localRank: z.number().int().nonnegative(),
  worldSize: z.number().int().positive(),
  masterAddr: z.string().min(1),
  masterPort: z.number().int().min(1).max(65_535),
  /** CPU threads that this rank may use. */
  threads: z.number().int().positive(),
})
export type RankPlace = z.output<typeof RankPlace>

export interface Machine {
  readonly gpus: number
  readonly cores: number
}

export interface TopologyInput {
  readonly nodes: number
  readonly nodeRank: number
  readonly ranksPerNode: number | 'auto'
  readonly machine: Machine
  readonly master: { readonly addr: string; readonly port: number }
}

/**
 * The ranks of one node. Ranks are numbered node by node, so every node must have the same number of them; `auto` is
 * one per GPU, or a single one on a machine without.
 * @throws CONFIG_INVALID for a node that the job does not have, or for more ranks than GPUs where there are GPUs.
 */
export function topology({ nodes, nodeRank, ranksPerNode, machine, master }: TopologyInput): readonly RankPlace[] {
  if (nodeRank < 0 || nodeRank >= nodes) {
    throw finding('CONFIG_INVALID', 'this node is not one of the job', {
      field: 'launch.nodes',
      found: `node ${nodeRank} of ${nodes}`,
      fix: 'node ranks count from 0 to launch.nodes - 1',
    })
  }
  const local = ranksPerNode === 'auto' ? Math.max(1, machine.gpus) : ranksPerNode
  if (machine.gpus > 0 && local > machine.gpus) {
    throw finding('CONFIG_INVALID', 'more ranks on this node than it has GPUs', {
      field: 'launch.ranksPerNode',
      found: `${local} ranks, ${machine.gpus} GPU(s)`,
      fix: `set launch.ranksPerNode to ${machine.gpus} or to auto`,
    })
  }
  return Array.from({ length: local }, (_, localRank) => ({
    rank: nodeRank * local + localRank,
    localRank,
    worldSize: nodes * local,
    masterAddr: master.addr,
    masterPort: master.port,
    threads: Math.max(1, Math.floor(machine.cores / local)),
  }))
}
