import type { Foreign } from '../../store/blobs/inventory.ts'
import { type Verified, type VerifyReport, verifyStore } from '../../store/maintenance/verify-store.ts'
import { openStoreLocation, type StoreLocation } from './store-location.ts'
import { StoreManifests } from './store-manifests.ts'

export interface VerifyStoreOptions {
  readonly manifests: readonly string[]
  readonly dryRun: boolean
  readonly restart: boolean
  readonly signal: AbortSignal
  readonly onProgress: (done: Verified, all: Verified) => void
}

export interface StoreVerdict extends VerifyReport {
  readonly store: string
  /** Files that draftbridge did not write. They are reported and never changed. */
  readonly foreign: readonly Foreign[]
  /** Refs of the given manifests whose exact generation is not stored: it was freed, replaced, or never put. */
  readonly missing: readonly string[]
}

/** Reads and checks every object of a store. Moves bad objects to quarantine unless `dryRun`. */
export async function verifyWholeStore(location: StoreLocation, options: VerifyStoreOptions): Promise<StoreVerdict> {
  await using store = await openStoreLocation(location)
  const { parts, files } = store
  const manifests = await StoreManifests.read(options.manifests, store)
  const foreign: Foreign[] = [...(await files.foreignAtTop())]
  const stored = new Set<string>()
  for await (const { key } of files.objects((found) => foreign.push(found)))
    stored.add(`${key.sampleId}@${key.generation}`)
  for await (const _ of files.extern((found) => foreign.push(found))) options.signal.throwIfAborted()
  const missing: string[] = []
  for (const { sampleId, generation } of manifests.refs()) {
    if (!stored.has(`${sampleId}@${generation}`)) missing.push(`${sampleId}@${generation}`)
  }
  const report = await verifyStore(parts, files, { ...options, refOf: (key) => manifests.refOf(key) })
  return { store: parts.id, ...report, foreign, missing }
}
