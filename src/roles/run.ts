import type { RunConfig } from '../config/schema.ts'
import { sharedKinds, traitsOf } from '../config/store-kinds.ts'
import { finding } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import type { Part } from '../core/part.ts'
import type { RoleContext } from './context.ts'
import type { Produced } from './produce/produce.ts'

export const roles = ['producer', 'consumer', 'colocated'] as const
export type Role = (typeof roles)[number]

/** The result of a role. A producer has no checkpoint. */
export interface RunOutcome {
  readonly role: Role
  readonly checkpoint?: string
  readonly step?: number
  /** How far the parts of the manifest have come, where it has any. */
  readonly parts?: Produced['parts']
}

/**
 * The role of this process: the flag, else DISAGG_ROLE, else by the node rank of the launcher
 * (node 0 is the producer, the others are consumers).
 * @throws CONFIG_INVALID when none of them is set, or when it names no role.
 */
export function chooseRole(flag: string | undefined, env: NodeJS.ProcessEnv): Role {
  const named = flag ?? env['DISAGG_ROLE']
  if (named !== undefined && named !== '') return parseRole(named, flag === undefined ? 'DISAGG_ROLE' : '--role')
  const rank = env['RCLI_NODE_RANK']
  if (rank !== undefined && /^\d+$/.test(rank)) return Number(rank) === 0 ? 'producer' : 'consumer'
  throw finding('CONFIG_INVALID', 'the role of this process is not set', {
    field: '--role, DISAGG_ROLE or RCLI_NODE_RANK',
    found: rank === undefined ? 'none of them' : `RCLI_NODE_RANK=${rank}`,
    fix: `set --role ${roles.join(' | ')}`,
  })
}

function parseRole(text: string, field: string): Role {
  const role = roles.find((name) => name === text)
  if (role !== undefined) return role
  const meant = nearest(text, roles)
  const fix = meant === undefined ? `use one of ${roles.join(' | ')}` : `did you mean ${meant}?`
  throw finding('CONFIG_INVALID', 'this role does not exist', { field, found: text, fix })
}

/** Runs one role to its end. Imports only the modules of that role: a consumer must not load those of a producer. */
export async function run(config: RunConfig, role: Role, context: RoleContext): Promise<RunOutcome> {
  if (role === 'colocated') {
    const { colocate } = await import('./train/colocate.ts')
    return { role, ...(await colocate(config, context)) }
  }
  if (!traitsOf(config.store).shared) throw needsSharedStore(role, config)
  if (role === 'consumer') {
    const { consume } = await import('./train/consume.ts')
    return { role, ...(await consume(config, context)) }
  }
  const { produceHere } = await import('./produce/produce-here.ts')
  return producedOutcome(await produceHere(config, context))
}

/** Makes one part of the manifest, in this process. */
export async function runPart(config: RunConfig, part: Part, context: RoleContext): Promise<RunOutcome> {
  const { produce } = await import('./produce/produce.ts')
  return producedOutcome(await produce(config, context, part))
}

const producedOutcome = ({ parts }: Produced): RunOutcome =>
  parts === null ? { role: 'producer' } : { role: 'producer', parts }

function needsSharedStore(role: Role, { store }: RunConfig): Error {
  return finding('CONFIG_INVALID', `a ${role} needs a store that other processes can reach`, {
    field: 'store.kind',
    found: store.kind,
    fix: `set store.kind to ${sharedKinds}, or run --role colocated`,
  })
}
