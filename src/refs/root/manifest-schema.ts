import { z } from 'zod'
import { isErrorCode } from '../../core/errors.ts'
import { RunId, StoreId } from '../../core/ids.ts'
import { Part } from '../../core/part.ts'
import { CaptureContract } from '../../core/target-contract.ts'
import { KeyList, SpecTemplate } from '../lines/ref-line.ts'
import { toCamel, toSnake } from './wire-case.ts'

export const MANIFEST_FORMAT = 'draftbridge.manifest'
/** What is written. Versions 1 and 2 have less in their lines (ref-line.ts) and are read, and gone on from, as well. */
export const MANIFEST_VERSION = 3
export const READABLE_VERSIONS = [1, 2, MANIFEST_VERSION] as const
export const ROOT_FILE = 'manifest.json'
export const COUNTS_FILE = 'token-counts.ndjson'
export const HEALTH_FILE = 'health.json'

export const segmentName = (index: number): string => `segment-${String(index).padStart(6, '0')}.ndjson`

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const Count = z.number().int().nonnegative()
const Listed = { count: Count, bytes: Count, sha256: Sha256 }

/** One immutable file of refs, with the length and checksum that it must have. */
export const SegmentEntry = z.strictObject({ file: z.string().regex(/^segment-\d{6,}\.ndjson$/), ...Listed })
export type SegmentEntry = z.infer<typeof SegmentEntry>

const CountsEntry = z.strictObject({ file: z.literal(COUNTS_FILE), ...Listed })
export type CountsEntry = z.infer<typeof CountsEntry>

const HealthEntry = z.strictObject({ file: z.literal(HEALTH_FILE), ...Listed })
export type HealthEntry = z.infer<typeof HealthEntry>

/** Read first, so that a manifest of a later version is reported as such and not as a list of unknown keys. */
export const ManifestVersion = z.looseObject({
  format: z.literal(MANIFEST_FORMAT),
  schema_version: z.number().int().positive(),
})

const Contract = z.unknown().transform((wire, context) => {
  if (wire === null) return null
  const parsed = CaptureContract.safeParse(toCamel(wire))
  if (parsed.success) return parsed.data
  for (const { message, path } of parsed.error.issues) context.addIssue({ code: 'custom', message, path })
  return z.NEVER
})

const wireRoot = {
  format: z.literal(MANIFEST_FORMAT),
  schema_version: z.literal(READABLE_VERSIONS),
  run_id: RunId,
  store_id: StoreId,
  /** Null only when the producer failed before it knew the contract. */
  contract: Contract,
  /** Identity of what is being captured or ingested. A manifest goes on only from the same inputs. */
  inputs: z.string().max(200),
  /** Which part of the data set this is, where several producers make one manifest. */
  part: Part.optional(),
  specs: z.array(SpecTemplate),
  /** Names of the provenance fields of the refs. A line holds their values. */
  provenance_keys: z.array(KeyList).max(64),
  state: z.enum(['open', 'complete', 'failed']),
  /** Why the producer failed. */
  error: z.string().refine(isErrorCode).nullable(),
  /** Milliseconds since the epoch, on the producer's clock. */
  heartbeat: Count,
  segments: z.array(SegmentEntry),
  token_counts: CountsEntry.nullable(),
  /** What the producer counted, written when it ends. Versions 1 and 2 have none. */
  health: HealthEntry.nullable().default(null),
  /** In a store without a key: the checksum of this text, which detects damage. */
  sum: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/)
    .optional(),
  /** In a store with a key. Always the last field: see root-mac.ts. */
  mac: z
    .string()
    .regex(/^hmac_sha256:[0-9a-f]{64}$/)
    .optional(),
}

/** `manifest.json`: everything about a manifest except its refs. */
export const ManifestRoot = z.strictObject(wireRoot)
export type ManifestRoot = z.output<typeof ManifestRoot>

export const rootText = (root: ManifestRoot): string =>
  `${JSON.stringify({ ...root, contract: toSnake(root.contract) }, null, 1)}\n`

/** A manifest without refs, as a producer begins it. */
export function emptyRoot(
  about: {
    readonly runId: RunId
    readonly storeId: StoreId
    readonly contract: CaptureContract | null
    readonly inputs?: string
    readonly part?: Part | undefined
  },
  now: number,
): ManifestRoot {
  return {
    format: MANIFEST_FORMAT,
    schema_version: MANIFEST_VERSION,
    run_id: about.runId,
    store_id: about.storeId,
    contract: about.contract,
    inputs: about.inputs ?? '',
    ...(about.part === undefined ? {} : { part: about.part }),
    specs: [],
    provenance_keys: [],
    state: 'open',
    error: null,
    heartbeat: now,
    segments: [],
    token_counts: null,
    health: null,
  }
}
