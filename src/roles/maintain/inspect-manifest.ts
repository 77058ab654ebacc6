import type { DataHealth, ShownSamples } from '../../core/data-health.ts'
import { type CodedError, finding } from '../../core/errors.ts'
import { partText } from '../../core/part.ts'
import { type ManifestSoFar, type PartSoFar, readManifestSoFar, unfinishedText } from '../../refs/manifest.ts'
import { keyText } from '../../store/blob-key.ts'
import { dataHealth } from '../health/data-health.ts'
import { markedSamples } from '../health/marked-samples.ts'
import { openForSamples, type SampleStore, storeNear } from '../health/sample-store.ts'
import { openStoreLocation, type StoreLocation } from './store-location.ts'

/** The summary of a manifest that `manifest show` prints. */
export interface ManifestSummary {
  readonly state: 'open' | 'complete' | 'failed'
  /** The error code of a failed producer. */
  readonly error: string | null
  readonly run: string
  readonly store: string
  /** Target, dtype and auxLayers are null when the producer failed before it knew them. */
  readonly target: string | null
  readonly dtype: string | null
  readonly auxLayers: readonly number[] | null
  readonly samples: number
  readonly tokens: number
  readonly bytes: number
  readonly segments: number
  /** What the producer of each part has come to. Null for the manifest of one producer. */
  readonly parts: readonly PartSoFar[] | null
  /** Which part this is. Null for a whole manifest. */
  readonly part: string | null
  /** Samples by number of tokens: `from` <= tokens < `to`. */
  readonly histogram: readonly { readonly from: number; readonly to: number; readonly samples: number }[]
  /** Seconds since the producer's last heartbeat, by the clock of this machine. No meaning once the state is complete. */
  readonly heartbeatSeconds: number
  /** True if the manifest has a signature (`mac`). The signature is not checked here: that needs the store's key. */
  readonly signed: boolean
  readonly sha256: string
  /** What the samples are like. */
  readonly health: DataHealth
}

/** Which samples to show as text, and where they are. */
export interface WantedSamples {
  readonly count: number
  readonly seed: number
  /** Null: the store around the manifest, or beside it. */
  readonly store: StoreLocation | null
  /** Null: the target of the capture contract, where the producer had it. */
  readonly tokenizer: string | null
}

/**
 * Reads a manifest in any state. Checks every hash and count, and parses every ref. With `samples` it opens their store,
 * and then checks the signature too.
 * @throws MANIFEST_INVALID or REF_INVALID; STORE_AUTH for a signature that is not of the store's key.
 */
export async function inspectManifest(
  dir: string,
  now: number,
  samples: WantedSamples | null = null,
): Promise<ManifestSummary> {
  await using opened = samples === null ? null : await openedStore(dir, samples)
  const store = opened?.store ?? null
  const manifest = await readManifestSoFar(store === null ? { dir } : { dir, storeId: store.parts.id, key: store.key })
  const { root, refs, sha256, parts } = manifest
  refs.checkAll()
  const health = await dataHealth(manifest)
  const shown = samples === null ? null : await shownSamples(manifest, samples, opened)
  return {
    state: root.state,
    error: root.error,
    run: root.run_id,
    store: root.store_id,
    target: root.contract?.target ?? null,
    dtype: root.contract?.dtype ?? null,
    auxLayers: root.contract?.auxLayers ?? null,
    samples: refs.length,
    tokens: health.tokens,
    bytes: health.bytes,
    segments: root.segments.length,
    parts,
    part: root.part === undefined ? null : partText(root.part),
    histogram: health.lengths,
    heartbeatSeconds: Math.max(0, Math.round((now - root.heartbeat) / 1000)),
    signed: root.mac !== undefined,
    sha256,
    health: { ...health, shown },
  }
}

async function openedStore(dir: string, { store }: WantedSamples): Promise<SampleStore> {
  const { root } = await readManifestSoFar({ dir })
  return openForSamples(async () => store ?? storeNear(dir, root.store_id))
}

async function shownSamples(
  { root, refs }: ManifestSoFar,
  { count, seed, tokenizer }: WantedSamples,
  opened: SampleStore | null,
): Promise<ShownSamples> {
  const nothing = { seed, samples: [] }
  if (root.contract === null) return { ...nothing, missing: 'the producer failed before it knew the target' }
  if (opened?.store == null) return { ...nothing, missing: opened?.why ?? '' }
  return markedSamples({ refs, contract: root.contract, store: opened.store, tokenizer, count, seed })
}

export interface ManifestVerdict {
  readonly samples: number
  readonly sha256: string
  /** Samples whose exact generation is not in the store; null when no store was given. */
  readonly missing: readonly string[] | null
}

/**
 * Checks every hash, count and ref of a complete manifest. With `location` it also checks the signature with the store's
 * key, and that the store contains every object.
 * @throws MANIFEST_INVALID, REF_INVALID, STORE_AUTH, and the errors of `openStoreLocation`.
 */
export async function verifyManifest(dir: string, location: StoreLocation | null): Promise<ManifestVerdict> {
  if (location === null) {
    const { refs, sha256 } = await checked({ dir })
    return { samples: refs.length, sha256, missing: null }
  }
  await using store = await openStoreLocation(location)
  const { refs, sha256 } = await checked({ dir, storeId: store.parts.id, key: store.key })
  const stored = new Set<string>()
  for await (const { key } of store.files.objects(() => undefined)) stored.add(keyText(key))
  const missing: string[] = []
  for (const ref of refs) if (!stored.has(keyText(ref))) missing.push(keyText(ref))
  return { samples: refs.length, sha256, missing }
}

async function checked(options: Parameters<typeof readManifestSoFar>[0]): Promise<ManifestSoFar> {
  const manifest = await readManifestSoFar(options)
  manifest.refs.checkAll()
  if (manifest.root.state === 'complete') return manifest
  throw notComplete(options.dir, unfinishedText(manifest))
}

const notComplete = (file: string, found: string): CodedError =>
  finding('MANIFEST_INVALID', 'the manifest is not complete; the refs published so far are good', {
    file,
    field: 'state',
    found,
    fix: 'let the producer finish, or start it again: it resumes where it stopped',
  })
