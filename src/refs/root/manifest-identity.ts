import path from 'node:path'
import { finding } from '../../core/errors.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { NEW_WORK } from '../new-work.ts'
import { inputsParts } from './inputs.ts'
import { type ManifestRoot, ROOT_FILE } from './manifest-schema.ts'
import { toSnake } from './wire-case.ts'

export type ManifestIdentity = Pick<ManifestRoot, 'run_id' | 'store_id' | 'inputs' | 'part'> & {
  readonly contract: CaptureContract
}

export interface Difference {
  readonly field: string
  readonly there: string
  readonly here: string
}

/** What of the inputs may change until the manifest is complete: lines are mended, or taken out. */
const CONVERSATIONS = 'data.conversations'

/**
 * @throws MANIFEST_INVALID unless `found` is an earlier state, or another part, of the very same work. The conversations
 * may be other ones while it `isOpen`, not complete: the producer compares each sample with its conversation.
 */
export function requireSameWork(
  dir: string,
  found: ManifestRoot,
  wanted: ManifestIdentity,
  isOpen = found.state !== 'complete',
): void {
  const difference = workDifference(found, wanted, isOpen)
  if (difference === undefined) return
  const { field, there, here } = difference
  if (field === CONVERSATIONS && found.state === 'complete') throw otherConversations(dir)
  throw finding('MANIFEST_INVALID', 'the folder holds the manifest of other work', {
    file: path.join(dir, ROOT_FILE),
    field,
    found: `${there}; this producer has ${here}`,
    fix: `${NEW_WORK}; or remove the old manifest folder, if nobody needs it`,
  })
}

/** A complete manifest stays as it is: trainings may have begun on it. */
const otherConversations = (dir: string): Error =>
  finding('MANIFEST_INVALID', 'the conversations have changed since this capture was complete', {
    file: path.join(dir, ROOT_FILE),
    field: CONVERSATIONS,
    found: 'other conversations than those of the complete manifest',
    fix: `to capture them all again, remove the folder ${dir} and run the same command; to keep what it lists, ${NEW_WORK}`,
  })

/** In which field two roots are of different work. Undefined: in none. */
export function workDifference(
  found: ManifestRoot | ManifestIdentity,
  wanted: ManifestRoot | ManifestIdentity,
  isOpen: boolean,
): Difference | undefined {
  return [...differences(facts(found), facts(wanted))].find(({ field }) => !(isOpen && field === CONVERSATIONS))
}

// The path to the target is not part of it: the hash says which model it is, and machines mount it in different places.
function facts({ run_id, store_id, inputs, contract, part }: ManifestRoot | ManifestIdentity): Record<string, unknown> {
  return {
    run_id,
    store_id,
    'part.count': part?.count,
    ...inputsParts(inputs),
    contract: toSnake({ ...contract, target: '' }),
  }
}

function* differences(
  there: Record<string, unknown>,
  here: Record<string, unknown>,
  above = '',
): Generator<Difference> {
  for (const key of new Set([...Object.keys(there), ...Object.keys(here)])) {
    const [left, right] = [there[key], here[key]]
    if (isRecord(left) && isRecord(right)) yield* differences(left, right, `${above}${key}.`)
    else if (JSON.stringify(left) !== JSON.stringify(right)) {
      yield { field: above + key, there: JSON.stringify(left) ?? 'nothing', here: JSON.stringify(right) ?? 'nothing' }
    }
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
