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

/**
 * How many ranks one node runs. `auto` is one per GPU, or one on a machine without GPUs.
 * @throws CONFIG_INVALID for more ranks than GPUs on a machine with GPUs.
 */
export function ranksOfNode(ranksPerNode: number | 'auto', { gpus }: Pick<Machine, 'gpus'>): number {
  const local = ranksPerNode === 'auto' ? Math.max(1, gpus) : ranksPerNode
  if (gpus === 0 || local <= gpus) return local
  throw finding('CONFIG_INVALID', 'this node has fewer GPUs than ranks', {
    field: 'launch.ranksPerNode',
    found: `${local} ranks, ${gpus} GPU(s)`,
    fix: `set launch.ranksPerNode to ${gpus} or to auto`,
  })
}

export interface TopologyInput {
  /** The ranks of this node. */
  readonly ranks: number
  /** The number of its first rank in the job. Default: this node is the whole job. */
  readonly firstRank?: number
  readonly worldSize?: number
  /** Of this node: the ranks share them. */
  readonly cores: number
  /** CPU threads of each rank, where they are not to share the cores evenly. */
  readonly threadsPerRank?: number | 'auto'
  readonly master: { readonly addr: string; readonly port: number }
}

/** The ranks of one node. Ranks are numbered node by node. */
export function topology(input: TopologyInput): readonly RankPlace[] {
  const { ranks, firstRank = 0, worldSize = ranks, cores, master, threadsPerRank = 'auto' } = input
  return Array.from({ length: ranks }, (_, localRank) => ({
    rank: firstRank + localRank,
    localRank,
    worldSize,
    masterAddr: master.addr,
    masterPort: master.port,
    threads: threadsOf(threadsPerRank, cores, ranks),
  }))
}

/** How many CPU threads each of `ranks` ranks on a node may use. */
export const threadsOf = (wanted: number | 'auto', cores: number, ranks: number): number =>
  wanted === 'auto' ? Math.max(1, Math.floor(cores / ranks)) : wanted
