import type { RunConfig } from '../config/schema.ts'
import { sharedKinds, traitsOf } from '../config/store-kinds.ts'
import { finding } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import type { RoleContext } from './context.ts'

export const roles = ['producer', 'consumer', 'colocated'] as const
export type Role = (typeof roles)[number]

/** What a role leaves behind: a producer has no checkpoint. */
export interface RunOutcome {
  readonly role: Role
  readonly checkpoint?: string
  readonly step?: number
}

/**
 * Which part of the job this process does: the flag, else DISAGG_ROLE, else the node rank of the launcher
 * (node 0 produces, the others consume).
 * @throws CONFIG_INVALID when none of them says, or says something else.
 */
export function chooseRole(flag: string | undefined, env: NodeJS.ProcessEnv): Role {
  const named = flag ?? env['DISAGG_ROLE']
  if (named !== undefined && named !== '') return parseRole(named, flag === undefined ? 'DISAGG_ROLE' : '--role')
  const rank = env['RCLI_NODE_RANK']
  if (rank !== undefined && /^\d+$/.test(rank)) return Number(rank) === 0 ? 'producer' : 'consumer'
  throw finding('CONFIG_INVALID', 'nothing says which role this process has', {
    field: '--role, DISAGG_ROLE or RCLI_NODE_RANK',
    found: rank === undefined ? 'none of them' : `RCLI_NODE_RANK=${rank}`,
    fix: `give --role ${roles.join(' | ')}`,
  })
}

function parseRole(text: string, field: string): Role {
  const role = roles.find((name) => name === text)
  if (role !== undefined) return role
  const meant = nearest(text, roles)
  const fix = meant === undefined ? `one of ${roles.join(' | ')}` : `did you mean ${meant}?`
  throw finding('CONFIG_INVALID', 'there is no such role', { field, found: text, fix })
}

/** Runs one role to its end. Modules are loaded when chosen: a consumer must not pay for what only a producer needs. */
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
  const { produce } = await import('./produce/produce.ts')
  await produce(config, context)
  return { role }
}

function needsSharedStore(role: Role, { store }: RunConfig): Error {
  return finding('CONFIG_INVALID', `a ${role} needs a store that other processes can see`, {
    field: 'store.kind',
    found: store.kind,
    fix: `set store.kind to ${sharedKinds}, or run --role colocated`,
  })
}
