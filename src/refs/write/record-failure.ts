import { type ErrorCode, hasCode } from '../../core/errors.ts'
import { makeDirectories } from '../../core/files/make-folder.ts'
import { claimFolder } from '../../core/liveness/folder-claim.ts'
import { readManifestRoot } from '../root/manifest-root.ts'
import { emptyRoot, type ManifestRoot, ROOT_FILE } from '../root/manifest-schema.ts'
import { signedRootText } from '../root/root-mac.ts'
import type { ManifestOptions } from './manifest-writer.ts'
import { ProducerStage } from './producer-stage.ts'

/** The name of the claim on a manifest's folder: only its holder may produce there. */
export const PRODUCE_CLAIM = 'produce'

/**
 * Marks the manifest as failed, also for a producer that failed before it could begin, so that waiting consumers stop at
 * once. Published refs stay, and a later `ManifestWriter.open` continues from them. Does nothing to a manifest that is
 * complete, belongs to another run, or is claimed by another producer.
 */
export async function recordFailure(
  given: Omit<ManifestOptions, 'contract'> & { readonly code: ErrorCode },
): Promise<void> {
  await makeDirectories(given.dir, 0o777)
  try {
    await using _claim = await claimFolder(given.dir, PRODUCE_CLAIM)
    await markFailed(given)
  } catch (error) {
    if (!hasCode(error, 'STORE_BUSY')) throw error
  }
}

async function markFailed(given: Omit<ManifestOptions, 'contract'> & { readonly code: ErrorCode }): Promise<void> {
  const { dir, runId, storeId, clock, code, key = null } = given
  await using stage = await ProducerStage.open(dir)
  const found = (await readManifestRoot(dir, key))?.root
  const root = found ?? emptyRoot({ ...given, contract: null }, clock.now())
  if (root.state === 'complete' || root.run_id !== runId || root.store_id !== storeId) return
  const failed: ManifestRoot = { ...root, state: 'failed', error: code, heartbeat: clock.now() }
  await stage.publish(ROOT_FILE, await signedRootText(failed, key))
  await stage.sync()
}
