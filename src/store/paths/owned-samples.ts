import { finding } from '../../core/errors.ts'
import type { Generation, SampleId } from '../../core/ids.ts'
import type { BlobKey } from '../blob-key.ts'
import { type CompleteManifest, ownerOf } from '../coordination/complete-manifests.ts'
import type { StoreParts } from '../store-parts.ts'
import { OWNER_KEY } from './ref-checks.ts'

/**
 * Two projects may have runs of one id in one store, and then samples of one id. Reads only what is about to be replaced.
 * @throws CONFIG_INVALID, which names the manifest, when one of `stored` belongs to another manifest that is complete.
 */
export async function expectNotOwned(
  parts: StoreParts,
  sampleId: SampleId,
  stored: readonly Generation[],
  manifest: string | undefined,
): Promise<void> {
  for (const generation of stored) {
    const owner = await ownerOfStored(parts, { sampleId, generation })
    if (owner === null || (manifest !== undefined && owner === ownerOf(manifest))) continue
    const other = await parts.manifests.find(owner)
    if (other !== null) throw owned(sampleId, other)
  }
}

// A damaged sample is nobody's: to put it again is how it is mended.
async function ownerOfStored({ blobs }: StoreParts, key: BlobKey): Promise<string | null> {
  const wanted = { key, names: [], rows: null, verify: false, maxBytes: Number.MAX_SAFE_INTEGER }
  const [found = null] = await blobs.read([wanted])
  if (found === null || found instanceof Error) return null
  await using _ = found.tensors
  return found.metadata[OWNER_KEY] ?? null
}

const owned = (sampleId: SampleId, { file, host }: CompleteManifest): Error =>
  finding('CONFIG_INVALID', 'this put would replace a sample that another complete manifest of this store lists', {
    file,
    field: 'run.id',
    found: `sample ${sampleId} of that manifest, which was completed on ${host}`,
    fix: 'give new work a `run.id` and a `manifest` of its own; --replace replaces the samples, and that manifest can then not be trained from',
  })
