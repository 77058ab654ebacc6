import type { RunConfig } from '../config/schema.ts'
import { type CodedError, finding } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import { type NodePlace, nodePlace } from '../launch/nodes/node-place.ts'

export const roles = ['producer', 'consumer', 'colocated'] as const
export type Role = (typeof roles)[number]

/** What this node does in the job. */
export interface PoolPlace {
  readonly role: Role
  /** The number of this node in the pool of its role, from 0. */
  readonly node: number
  /** Nodes of that pool. */
  readonly nodes: number
  /** The address of the pool's first node, where the launcher says it. */
  readonly head: string | null
  /** No other node belongs to the job. */
  readonly isWholeJob: boolean
}

/** What one process was told. */
export interface PoolRequest {
  /** `--role`. */
  readonly role?: string | undefined
  /** `--node I/N`: this is node I of the N nodes of its pool, whatever the launcher's variables say. */
  readonly node?: string | undefined
  readonly env: NodeJS.ProcessEnv
  readonly launch: Pick<RunConfig['launch'], 'nodes' | 'producers'>
}

export const onlyNodeOf = (role: Role): PoolPlace => ({
  role,
  node: 0,
  nodes: 1,
  head: null,
  isWholeJob: true,
})

/**
 * The role of this process: the flag, else DISAGG_ROLE, else by its node: the first `launch.producers` nodes produce, the
 * others train. Nodes are numbered within each pool.
 * @throws CONFIG_INVALID when nothing says the role, when it is none, or when the settings contradict each other.
 */
export function poolPlace({ role: flag, node, env, launch }: PoolRequest): PoolPlace {
  const role = namedRole(flag, env)
  if (node !== undefined) return placeOfFlag(role, node)
  const place = nodePlace(env, launch)
  if (place.nodes === 1) return onlyNodeOf(role ?? roleOfOnly(env))
  if (role === 'colocated') throw notColocated(place)
  return placeByNode(role, place, launch.producers)
}

/** The role that a flag or DISAGG_ROLE names. @throws CONFIG_INVALID when it is none. */
export function namedRole(flag: string | undefined, env: NodeJS.ProcessEnv): Role | null {
  if (flag !== undefined) return parseRole(flag, '--role')
  const variable = env['DISAGG_ROLE'] ?? ''
  return variable === '' ? null : parseRole(variable, 'DISAGG_ROLE')
}

function placeByNode(role: Role | null, { node, nodes, head }: NodePlace, producers: number): PoolPlace {
  expectProducers(producers, nodes)
  const byNode = node < producers ? 'producer' : 'consumer'
  if (role !== null && role !== byNode) throw contradiction(role, byNode, { node, nodes }, producers)
  const place = { role: byNode, isWholeJob: false } as const
  if (byNode === 'producer') return { ...place, node, nodes: producers, head }
  // The launcher names node 0, which trains only where no node produces.
  return { ...place, node: node - producers, nodes: nodes - producers, head: producers === 0 ? head : null }
}

function placeOfFlag(role: Role | null, node: string): PoolPlace {
  const [, index, count] = /^(\d{1,6})\/(\d{1,6})$/.exec(node) ?? []
  const bad = (fix: string) =>
    finding('CONFIG_INVALID', 'this is no node of a pool', { field: '--node', found: node, fix })
  if (Number(index) >= Number(count) || index === undefined)
    throw bad('give the node of its pool as I/N, with I from 0 to N - 1')
  if (role === null) throw bad('name the pool with --role producer or --role consumer')
  if (role === 'colocated') throw bad('leave it out: colocated training runs on one node')
  return { role, node: Number(index), nodes: Number(count), head: null, isWholeJob: false }
}

/** A single node with a node rank is the first of a job that lacks the others. */
function roleOfOnly(env: NodeJS.ProcessEnv): never {
  throw finding('CONFIG_INVALID', 'the role of this process is not set', {
    field: '--role, DISAGG_ROLE, or NODE_RANK and NUM_NODES',
    found: env['RCLI_NODE_RANK'] === undefined ? 'none of them' : 'a job of one node',
    fix: `set --role ${roles.join(' | ')}; with several nodes, start the command on each with a launcher of docs/nodes.md`,
  })
}

function expectProducers(producers: number, nodes: number): void {
  if (producers <= nodes) return
  throw finding('CONFIG_INVALID', 'more nodes are to produce than the job has', {
    field: 'launch.producers',
    found: `${producers} of ${nodes} nodes`,
    fix: 'lower launch.producers, or start the job on more nodes',
  })
}

const notColocated = ({ nodes }: NodePlace): CodedError =>
  finding('CONFIG_INVALID', 'colocated training runs on one node', {
    field: '--role',
    found: `colocated, in a job of ${nodes} nodes`,
    fix: 'use the roles producer and consumer, or start it on one node',
  })

const contradiction = (
  role: Role,
  byNode: Role,
  { node, nodes }: Pick<NodePlace, 'node' | 'nodes'>,
  producers: number,
): CodedError =>
  finding('CONFIG_INVALID', 'the role and the number of this node contradict each other', {
    field: '--role or DISAGG_ROLE',
    found: `${role}; node ${node} of ${nodes} is a ${byNode}, because launch.producers is ${producers}`,
    fix: 'leave the role out, set launch.producers, or number the nodes of each pool with --node I/N',
  })

function parseRole(text: string, field: string): Role {
  const role = roles.find((name) => name === text)
  if (role !== undefined) return role
  const meant = nearest(text, roles)
  const fix = meant === undefined ? `use one of ${roles.join(' | ')}` : `did you mean ${meant}?`
  throw finding('CONFIG_INVALID', 'this role does not exist', { field, found: text, fix })
}
