import { z } from 'zod'
import { finding } from '../core/errors.ts'

/** The place of one rank in the job: what it needs to find the other ranks and its own device. */
export const RankPlace = z.strictObject({
  rank: z.number().int().nonnegative(),
  /** Its number among the ranks of its node; also the index of its GPU. */
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
 * The ranks of one node. Ranks are numbered node by node, so every node must have the same number of ranks. `auto` is
 * one rank per GPU, or one rank on a machine without GPUs.
 * @throws CONFIG_INVALID for a node rank outside the job, or for more ranks than GPUs on a machine with GPUs.
 */
export function topology({ nodes, nodeRank, ranksPerNode, machine, master }: TopologyInput): readonly RankPlace[] {
  if (nodeRank < 0 || nodeRank >= nodes) {
    throw finding('CONFIG_INVALID', 'the node rank is outside the job', {
      field: 'launch.nodes',
      found: `node ${nodeRank} of ${nodes}`,
      fix: 'use node ranks from 0 to launch.nodes - 1',
    })
  }
  const local = ranksPerNode === 'auto' ? Math.max(1, machine.gpus) : ranksPerNode
  if (machine.gpus > 0 && local > machine.gpus) {
    throw finding('CONFIG_INVALID', 'this node has fewer GPUs than ranks', {
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
