import { hasCode } from '../core/errors.ts'
import type { StoreId } from '../core/ids.ts'
import type { Watch } from '../core/liveness/watch.ts'
import type { BlobKey } from './blob-key.ts'
import type { Blobs } from './blobs/blobs.ts'
import { Claims } from './coordination/claims.ts'
import { CompleteManifests } from './coordination/complete-manifests.ts'
import type { Coordination } from './coordination/coordination.ts'
import { claimEpoch } from './coordination/epoch-claims.ts'
import { Members } from './coordination/members.ts'
import { SharedLeases } from './coordination/shared-leases.ts'
import { GenerationSource } from './generations/generation-source.ts'
import { StoredGenerations } from './generations/stored-generations.ts'
import { type OpenSpace, type Space, unlimitedSpace } from './space/space.ts'

/** One client's access to a store: what moves the tensors, and what all clients agree on. The blobs use this coordination. */
export interface StorePorts {
  readonly blobs: Blobs
  readonly coordination: Coordination
}

/** What the paths of a store share. Each part owns one kind of state. */
export interface StoreParts extends StorePorts {
  readonly id: StoreId
  /** Offline sets are read every epoch: a release keeps the data. Otherwise the last release frees it. */
  readonly retain: boolean
  readonly members: Members
  readonly generations: GenerationSource
  readonly storedGenerations: StoredGenerations
  readonly leases: SharedLeases
  readonly claims: Claims
  readonly space: Space
  readonly manifests: CompleteManifests
  /** Removes one generation of a sample, whoever holds it, and takes its bytes off the count. The bytes that became free. */
  remove(key: BlobKey): Promise<number>
  /** Frees one generation of a sample. The bytes that became free; null when somebody living has leased or claimed it. */
  retire(key: BlobKey): Promise<number | null>
  /** Takes one generation out of reach and off the count. On a full disk that matters more than the reason. */
  quarantine(key: BlobKey, reason: string): Promise<void>
}

export function assembleParts(
  { blobs, coordination }: StorePorts,
  options: {
    readonly id: StoreId
    readonly retain: boolean
    readonly space?: OpenSpace | undefined
    readonly watch?: Watch | undefined
  },
): StoreParts {
  const { notes } = coordination
  const members = new Members(coordination, options.watch)
  const generations = new GenerationSource((above) => claimEpoch(notes, above))
  const storedGenerations = new StoredGenerations(blobs, generations)
  const count = async () => (await blobs.list()).reduce((sum, blob) => sum + blob.bytes, 0)
  const space = options.space?.({ notes, members, count }) ?? unlimitedSpace(count)
  const remove = async (key: BlobKey): Promise<number> => {
    const freed = space.freeing()
    const bytes = await blobs.remove(key)
    await storedGenerations.removed(key)
    await freed(bytes)
    return bytes
  }
  const quarantine = async (key: BlobKey, reason: string): Promise<void> => {
    const freed = space.freeing()
    const bytes = await coordination
      .inReserve(() => blobs.quarantine(key, reason))
      .catch((error: unknown) => {
        if (!hasCode(error, 'STORE_FULL')) throw error
        return blobs.quarantine(key, null)
      })
    await storedGenerations.removed(key)
    await freed(bytes)
  }
  const { id, retain } = options
  const claims = new Claims(coordination, members)
  const leases = new SharedLeases(coordination, members, {
    retain,
    has: (key) => blobs.has(key),
    free: remove,
    endClaims: (key) => claims.end(key),
  })
  const manifests = new CompleteManifests(notes)
  return {
    id,
    retain,
    blobs,
    coordination,
    members,
    generations,
    storedGenerations,
    leases,
    claims,
    space,
    manifests,
    remove,
    retire: (key) => retireUnclaimed(key, claims, leases),
    quarantine,
  }
}

// With the claim of its own, nobody else's work on the sample is under way or begins.
async function retireUnclaimed(key: BlobKey, claims: Claims, leases: SharedLeases): Promise<number | null> {
  try {
    const outcome = await claims.take(key)
    if (outcome === 'gone') return await leases.retire(key)
  } catch (error) {
    if (hasCode(error, 'STORE_BUSY')) return null
    throw error
  }
  // A claim that cannot be given back now is given back later.
  await using _claim = { [Symbol.asyncDispose]: async () => void (await claims.giveBack(key).catch(() => false)) }
  return await leases.retire(key)
}
