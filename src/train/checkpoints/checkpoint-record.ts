import { z } from 'zod'
import { finding } from '../../core/errors.ts'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import { SampleId } from '../../core/ids.ts'
import { CaptureContract } from '../../core/target-contract.ts'

const Count = z.number().int().nonnegative()
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/)

export const CHECKPOINT_FORMAT = 1

/** Everything that decides which numbers a run computes, by the name that a user knows it by. */
export const RunIdentity = z.record(z.string(), z.json())
export type RunIdentity = z.output<typeof RunIdentity>

/** `checkpoint.json`: where the run stood, what run it was, and what the other files must be. */
export const CheckpointRecord = z.strictObject({
  formatVersion: z.literal(CHECKPOINT_FORMAT),
  globalStep: Count,
  totalSteps: Count,
  /** The first micro-step still to do: its epoch, and the micro-steps of the run that are done. */
  epoch: Count,
  cursor: Count,
  worldSize: Count,
  /** Where the features came from; a local store has no manifest. */
  source: z.strictObject({ runId: z.string(), storeId: z.string(), manifestSha256: Sha256.nullable() }),
  identity: RunIdentity,
  /** How the features were made that the draft was trained on. Null in checkpoints from before it was kept. */
  contract: CaptureContract.nullable().default(null),
  /** The simulated accept length of the newest validation, larger is better; null in a run without one. */
  metric: z.number().nullable().default(null),
  /** Samples that could not be read, and the first micro-step of the run that does not ask for them any more. */
  lost: z.array(z.strictObject({ sampleId: SampleId, since: Count })).default([]),
  files: z.array(z.strictObject({ name: z.string().regex(/^[\w.-]+$/), bytes: Count, sha256: Sha256 })),
})
export type CheckpointRecord = z.output<typeof CheckpointRecord>
/** What a save knows before its files are measured. */
export type CheckpointPosition = Omit<z.input<typeof CheckpointRecord>, 'files'>

/** The text of a record; null when there is none. @throws CHECKPOINT_INVALID for what cannot be one. */
export function recordText(file: string): Promise<string | null> {
  const refuse = (found: string) =>
    finding('CHECKPOINT_INVALID', 'this cannot be the record of a checkpoint', { file, found, fix: DISCARD })
  return readTextOrNull(file, { refuse })
}

/** @throws CHECKPOINT_INVALID for text that is no record, or one that a later version of this program wrote. */
export function parseRecord(text: string, file: string): CheckpointRecord {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw finding('CHECKPOINT_INVALID', 'checkpoint.json is not JSON', { file, fix: DISCARD }, { cause })
  }
  const version = z.looseObject({ formatVersion: z.number() }).safeParse(json).data?.formatVersion
  if (version !== undefined && version > CHECKPOINT_FORMAT) {
    const fix = 'use the version of draftbridge that wrote it, or a later one'
    throw finding('CHECKPOINT_INVALID', 'a later version of draftbridge wrote this checkpoint', {
      file,
      field: 'formatVersion',
      found: `${version}; this version reads up to ${CHECKPOINT_FORMAT}`,
      fix,
    })
  }
  const parsed = CheckpointRecord.safeParse(json)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw finding('CHECKPOINT_INVALID', 'checkpoint.json is not the record of a checkpoint', {
    file,
    field: issue?.path.join('.') ?? '',
    found: issue?.message ?? '',
    fix: DISCARD,
  })
}

/** The metric of a record, or null: a record that cannot be read is never the best one. */
export function metricIn(text: string): number | null {
  try {
    return z.looseObject({ metric: z.number().nullable() }).safeParse(JSON.parse(text)).data?.metric ?? null
  } catch {
    return null
  }
}

export const DISCARD = 'remove that checkpoint folder to go on from the one before it'

/**
 * A run goes on only from its own checkpoints: with other data, another plan or optimiser nobody could repeat it.
 * @throws CHECKPOINT_INVALID naming the first setting that differs, what this run has and what the checkpoint has.
 */
export function requireSameRun(mine: RunIdentity, { identity }: CheckpointRecord, file: string): void {
  for (const field of new Set([...Object.keys(mine), ...Object.keys(identity)])) {
    const [found, expected] = [canonical(mine[field]), canonical(identity[field])]
    if (found === expected) continue
    throw finding('CHECKPOINT_INVALID', 'the checkpoint belongs to a run with other settings', {
      file,
      field,
      found: `${found}; expected ${expected}, as in the checkpoint`,
      fix: 'set it back to go on with that run, or choose another run.dir to start a new one',
    })
  }
}

/** JSON with sorted keys, so that equal values are equal texts. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => sorted(inner)) ?? 'nothing'
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
