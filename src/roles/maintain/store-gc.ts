import { type SweepReport, sweep } from '../../store/maintenance/sweep.ts'
import { StoreManifests } from './store-manifests.ts'
import { openStorePlace, type StorePlace } from './store-place.ts'

export interface GcOptions {
  readonly manifests: readonly string[]
  readonly graceMs: number
  readonly dryRun: boolean
  readonly signal: AbortSignal
}

export interface GcReport extends SweepReport {
  readonly store: string
  /** Manifests that are not complete: samples of their runs stay. */
  readonly open: readonly string[]
}

/** Cleans a store. Without a manifest no sample that is the newest of its id goes. */
export async function cleanStore(place: StorePlace, options: GcOptions): Promise<GcReport> {
  await using care = await openStorePlace(place)
  const { parts, files } = care
  const { graceMs, dryRun, signal } = options
  const manifests = options.manifests.length === 0 ? null : await StoreManifests.read(options.manifests, care)
  const judge =
    manifests === null ? null : (object: Parameters<StoreManifests['judge']>[0]) => manifests.judge(object, files)
  const report = await sweep(parts, files, { dryRun, graceMs, judge, signal })
  return { store: parts.id, ...report, open: (manifests?.open ?? []).map(({ dir }) => dir) }
}
