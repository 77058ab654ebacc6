import { type CodedError, finding } from '../../core/errors.ts'
import { type Launcher, launchers } from './launchers.ts'

/** One node among all nodes of the job. */
export interface NodePlace {
  readonly node: number
  readonly nodes: number
  /** The address of node 0, where the launcher says it. */
  readonly head: string | null
}

/** What one source says; null: nothing about that. */
interface Said {
  readonly rank: Value | null
  readonly count: Value | null
  readonly head: Value<string> | null
}
interface Value<T = number> {
  readonly value: T
  /** The variable or key, for messages. */
  readonly by: string
}

/**
 * Which node this is, as the launcher's variables and `launch.nodes` say. Several launchers may speak at once, as rcli
 * inside of Slurm does, as long as they agree. Without any of them: the only node.
 * @throws CONFIG_INVALID naming the variables that contradict each other, or what is missing.
 */
export function nodePlace(env: NodeJS.ProcessEnv, launch: { readonly nodes: number | 'auto' }): NodePlace {
  const said = launchers.map((launcher) => saidBy(launcher, env))
  const rank = agreed(
    said.map((one) => one.rank),
    'the number of this node',
  )
  const given = launch.nodes === 'auto' ? null : { value: launch.nodes, by: 'launch.nodes' }
  const counts = said.map((one) => one.count)
  const count = agreed([...counts, given], 'the number of nodes')
  // Two launchers may name one node by its address and by its name.
  const head = said.find((one) => one.head !== null)?.head ?? null
  if (rank === null) return onlyNode(count)
  if (count === null) throw missing(`${rank.by}=${rank.value}, and nothing says how many nodes there are`)
  if (rank.value < count.value) return { node: rank.value, nodes: count.value, head: head?.value ?? null }
  throw finding('CONFIG_INVALID', 'the number of this node is outside the job', {
    field: rank.by,
    found: `${rank.by}=${rank.value}, ${count.by}=${count.value}`,
    fix: 'number the nodes from 0 to one less than their number',
  })
}

function onlyNode(count: Value | null): NodePlace {
  if (count === null || count.value === 1) return { node: 0, nodes: 1, head: null }
  throw missing(`${count.by}=${count.value}, and nothing says which of the nodes this is`)
}

const missing = (found: string): CodedError =>
  finding('CONFIG_INVALID', 'the place of this node in the job is not known', {
    field: 'NODE_RANK, NUM_NODES',
    found,
    fix: 'start the command on each node with rcli, srun or another launcher of docs/nodes.md, or set NODE_RANK (from 0) and NUM_NODES',
  })

function saidBy({ rank, count, head, needs }: Launcher, env: NodeJS.ProcessEnv): Said {
  if (needs !== null && (env[needs] ?? '') === '') return { rank: null, count: null, head: null }
  return {
    rank: numberIn(env, rank, 0),
    count: numberIn(env, count, 1),
    head: head === null ? null : textIn(env, head),
  }
}

function numberIn(env: NodeJS.ProcessEnv, by: string, least: number): Value | null {
  const text = env[by]?.trim() ?? ''
  if (text === '') return null
  if (/^\d{1,6}$/.test(text) && Number(text) >= least) return { value: Number(text), by }
  throw finding('CONFIG_INVALID', 'a variable of the launcher holds no number of nodes', {
    field: by,
    found: `${by}=${text}`,
    fix: `set it to a whole number from ${least}; a range, as elastic jobs have it, cannot be trained on`,
  })
}

/** The first word: SkyPilot lists the addresses of all nodes, one a line. */
function textIn(env: NodeJS.ProcessEnv, by: string): Value<string> | null {
  const [value] = (env[by] ?? '').trim().split(/[\s,]+/)
  return value === undefined || value === '' ? null : { value, by }
}

function agreed<T extends number | string>(all: readonly (Value<T> | null)[], what: string): Value<T> | null {
  const [first = null, ...others] = all.filter((one) => one !== null)
  const other = others.find(({ value }) => value !== first?.value)
  if (first === null || other === undefined) return first
  throw finding('CONFIG_INVALID', `two settings contradict each other about ${what}`, {
    field: `${first.by}, ${other.by}`,
    found: `${first.by}=${first.value}, ${other.by}=${other.value}`,
    fix: `unset the one that is left over from another job, or make them equal`,
  })
}
