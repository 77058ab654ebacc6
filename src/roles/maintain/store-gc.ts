import type { WaitOptions } from '../../core/liveness/watch.ts'
import { type SweepReport, sweep } from '../../store/maintenance/sweep.ts'
import { openStoreLocation, type StoreLocation } from './store-location.ts'
import { StoreManifests } from './store-manifests.ts'

export interface GcOptions {
  readonly manifests: readonly string[]
  readonly graceMs: number
  readonly dryRun: boolean
  readonly signal: AbortSignal
  /** Called while members of the store that cannot be seen from here are watched. */
  readonly onWait?: WaitOptions['onWait']
}

export interface GcReport extends SweepReport {
  readonly store: string
  /** Manifests that are not complete: samples of their runs are kept. */
  readonly open: readonly string[]
}

/**
 * Cleans a store. Without a manifest it keeps the newest generation of every sample. It first watches all members that
 * cannot be seen from here, together, for the silence time at most: a command that runs once and did not wait could
 * never clean up after a member that died elsewhere.
 */
export async function cleanStore(location: StoreLocation, options: GcOptions): Promise<GcReport> {
  await using store = await openStoreLocation(location)
  const { parts, files } = store
  const { graceMs, dryRun, signal, onWait } = options
  const wait = { signal, ...(onWait === undefined ? {} : { onWait }) }
  const manifests = options.manifests.length === 0 ? null : await StoreManifests.read(options.manifests, store)
  const judge =
    manifests === null ? null : (object: Parameters<StoreManifests['judge']>[0]) => manifests.judge(object, files)
  const report = await sweep(parts, files, { dryRun, graceMs, judge, signal, wait })
  return { store: parts.id, ...report, open: (manifests?.incomplete ?? []).map(({ dir }) => dir) }
}
