/** What a job file for Slurm needs to know. Paths are absolute, and the same on all nodes. */
export interface SlurmJob {
  readonly runId: string
  readonly runDir: string
  readonly config: string
  /** The words that start draftbridge. */
  readonly program: readonly string[]
  /** `--set` flags. */
  readonly sets: readonly string[]
  readonly producers: number
  readonly consumers: number
  /** Further options of sbatch, such as `--partition=gpu`, for the nodes of both pools. */
  readonly options: readonly string[]
  /** How often the job is queued again at most. */
  readonly restarts: number
  /** Seconds before the time limit at which the ranks are asked to save and stop. */
  readonly noticeSeconds: number
}

/** In single quotes: no shell changes anything in it. */
const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`
const words = (all: readonly string[]): string => all.map(quoted).join(' ')

interface Pool {
  readonly role: 'producer' | 'consumer'
  readonly nodes: number
}

/**
 * The batch script of one job: a component for each pool, so that both can ask for other nodes. Holds no secret: a key
 * comes from `store.auth.keyFile`, or from the environment that sbatch passes on.
 */
export function sbatchScript(job: SlurmJob): string {
  const pools = poolsOf(job)
  const starts = pools.map(({ role, nodes }, group) => {
    const place = pools.length > 1 ? ` --het-group=${group}` : ''
    return `pool ${role} ${nodes}${place} & pids+=($!)`
  })
  return `#!/usr/bin/env bash
# Both pools of a draftbridge run. Submit it with: sbatch FILE
#SBATCH --job-name=${`draftbridge-${job.runId}`}
#SBATCH --output=${job.runDir}/slurm-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
${pools.map((pool) => componentOf(pool, job)).join('\n#SBATCH hetjob\n')}
set -uo pipefail

program=(${words(job.program)})
flags=(-c ${words([job.config])}${job.sets.map((set) => ` --set ${quoted(set)}`).join('')})
restarts=${job.restarts}

# ROLE NODES [OPTION OF srun ...]: runs one command on each node of a pool.
pool() {
  local role=$1 nodes=$2
  shift 2
  # shellcheck disable=SC2016 # SLURM_NODEID is another one on each node.
  # One node that fails ends the others itself, and they say which one it was.
  srun "$@" --ntasks-per-node=1 --kill-on-bad-exit=0 bash -c \\
    'role=$1 nodes=$2; shift 2; exec "$@" --role "$role" --node "$SLURM_NODEID/$nodes"' pool "$role" "$nodes" \\
    "\${program[@]}" run "\${flags[@]}"
}

pids=()
${starts.join('\n')}

status=0
for _ in "\${pids[@]}"; do
  wait -n
  ended=$?
  if ((ended == 0 || status != 0)); then continue; fi
  # The first failure ends all. Stopped ranks save first.
  status=$ended
  kill -TERM "\${pids[@]}" 2>/dev/null
done

# 69, 70, 75: a node, a rank or the store failed. 143: stopped by the time limit or a preemption. 137: killed. Other failures come
# again with each start. A job that was cancelled stays so.
case $status in
  69 | 70 | 75 | 137 | 143)
    cancelled=$(scontrol show job "$SLURM_JOB_ID" 2>/dev/null | grep -c 'JobState=CANCELLED')
    if ((cancelled == 0 && \${SLURM_RESTART_COUNT:-0} < restarts)); then
      echo "draftbridge ended with $status: queued again ($((\${SLURM_RESTART_COUNT:-0} + 1)) of $restarts)"
      scontrol requeue "$SLURM_JOB_ID" && sleep 60
    fi
    ;;
esac
exit "$status"
`
}

const poolsOf = ({ producers, consumers }: SlurmJob): readonly Pool[] => {
  const pools = [
    { role: 'producer', nodes: producers },
    { role: 'consumer', nodes: consumers },
  ] as const
  return pools.filter(({ nodes }) => nodes > 0)
}

const componentOf = ({ nodes }: Pool, { options, noticeSeconds }: SlurmJob): string =>
  [`--nodes=${nodes}`, '--ntasks-per-node=1', `--signal=TERM@${noticeSeconds}`, ...options]
    .map((option) => `#SBATCH ${option}`)
    .join('\n')
