/** The variables by which one launcher tells a process its node. */
export interface Launcher {
  readonly name: string
  /** The number of this node, from 0. */
  readonly rank: string
  /** How many nodes there are. */
  readonly count: string
  /** The address of node 0; null where the launcher does not say it. A list of addresses begins with it. */
  readonly head: string | null
  /** A variable without which the others do not mean this process; null where there is none. */
  readonly needs: string | null
}

/**
 * Every launcher that this program understands. docs/nodes.md has the same table.
 *
 * Slurm sets SLURM_NODEID=0 also in the batch script, which runs once and not on each node: only a step of srun counts.
 */
export const launchers: readonly Launcher[] = [
  { name: 'rcli', rank: 'RCLI_NODE_RANK', count: 'RCLI_NUM_NODES', head: 'RCLI_HEAD_IP', needs: null },
  { name: 'none in particular', rank: 'NODE_RANK', count: 'NUM_NODES', head: 'HEAD_IP', needs: null },
  {
    name: 'SkyPilot',
    rank: 'SKYPILOT_NODE_RANK',
    count: 'SKYPILOT_NUM_NODES',
    head: 'SKYPILOT_NODE_IPS',
    needs: null,
  },
  {
    name: 'dstack',
    rank: 'DSTACK_NODE_RANK',
    count: 'DSTACK_NODES_NUM',
    head: 'DSTACK_MASTER_NODE_IP',
    needs: null,
  },
  { name: 'Slurm', rank: 'SLURM_NODEID', count: 'SLURM_STEP_NUM_NODES', head: null, needs: 'SLURM_STEP_ID' },
  { name: 'Kubeflow', rank: 'PET_NODE_RANK', count: 'PET_NNODES', head: 'PET_MASTER_ADDR', needs: null },
]
