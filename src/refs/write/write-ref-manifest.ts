import type { SampleRef } from '../../core/sample-ref.ts'
import type { TokenCount } from '../token-counts-file.ts'
import { type ManifestOptions, ManifestWriter } from './manifest-writer.ts'

/** Publishes `refs` in one go. Does nothing when the folder already holds the complete manifest of the same work. */
export async function writeRefManifest(
  given: ManifestOptions & { readonly refs: Iterable<SampleRef>; readonly counts: readonly TokenCount[] },
): Promise<void> {
  await using writer = await ManifestWriter.open(given)
  if (writer.isComplete) return
  for (const ref of given.refs) if (!writer.published.has(ref.sampleId)) writer.append(ref)
  await writer.complete(given.counts)
}
