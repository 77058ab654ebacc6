import type { RunConfig } from '../config/schema.ts'
import { sharedKinds, traitsOf } from '../config/store-kinds.ts'
import { finding } from '../core/errors.ts'
import { LAUNCHED_ENV } from '../core/launched-env.ts'
import type { Part } from '../core/part.ts'
import { endWithParent } from '../launch/end-with-parent.ts'
import type { RoleContext } from './context.ts'
import type { PoolPlace, Role } from './pools.ts'
import type { Produced } from './produce/produce.ts'

/** The result of a role. A producer has no checkpoint. */
export interface RunOutcome {
  readonly role: Role
  readonly checkpoint?: string
  readonly step?: number
  /** How far the parts of the manifest have come, where it has any. */
  readonly parts?: Produced['parts']
}

/** Runs one role to its end. Imports only the modules of that role: a consumer must not load those of a producer. */
export async function run(config: RunConfig, place: PoolPlace, context: RoleContext): Promise<RunOutcome> {
  const { role } = place
  if (process.env[LAUNCHED_ENV] === '1') endWithParent()
  if (role === 'colocated') {
    const { colocate } = await import('./train/colocate.ts')
    return { role, ...(await colocate(config, context)) }
  }
  if (!traitsOf(config.store).shared) throw needsSharedStore(role, config)
  if (role === 'consumer') {
    const { consume } = await import('./train/consume.ts')
    return { role, ...(await consume(config, context, place)) }
  }
  const { produceHere } = await import('./produce/produce-here.ts')
  return producedOutcome(await produceHere(config, context, place))
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
