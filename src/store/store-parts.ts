import type { StoreId } from '../core/ids.ts'
import type { BlobKey, StoreBackend } from './backend.ts'
import { Claims } from './coordination/claims.ts'
import { claimEpoch } from './coordination/epoch-claims.ts'
import { Members } from './coordination/members.ts'
import { SharedLeases } from './coordination/shared-leases.ts'
import { GenerationSource } from './paths/generation-source.ts'
import { Residents } from './paths/residents.ts'
import { type Space, unlimitedSpace } from './space/space.ts'

/** What the paths of a store share: each part owns one kind of state, and this owns none. */
export interface StoreParts {
  readonly id: StoreId
  /** Offline sets are read every epoch: a release keeps the data. Otherwise the last release frees it. */
  readonly retain: boolean
  readonly backend: StoreBackend
  readonly members: Members
  readonly generations: GenerationSource
  readonly residents: Residents
  readonly leases: SharedLeases
  readonly claims: Claims
  readonly space: Space
  /** Removes one generation of a sample, whoever holds it, and books the room. */
  remove(key: BlobKey): Promise<void>
}

export type OpenSpace = (about: {
  readonly backend: StoreBackend
  readonly members: Members
  /** Lists the store and adds up. */
  readonly count: () => Promise<number>
}) => Space

export function assembleParts(
  backend: StoreBackend,
  options: { readonly id: StoreId; readonly retain: boolean; readonly space?: OpenSpace | undefined },
): StoreParts {
  const { notes } = backend
  const members = new Members(backend)
  const generations = new GenerationSource((above) => claimEpoch(notes, above))
  const residents = new Residents(backend, generations)
  const count = async () => (await backend.list()).reduce((sum, blob) => sum + blob.bytes, 0)
  const space = options.space?.({ backend, members, count }) ?? unlimitedSpace(count)
  const remove = async (key: BlobKey): Promise<void> => {
    const freed = space.freeing()
    const bytes = await backend.remove(key)
    await residents.removed(key)
    await freed(bytes)
  }
  const leases = new SharedLeases(notes, members, backend, remove)
  const claims = new Claims(notes, members)
  const { id, retain } = options
  return { id, retain, backend, members, generations, residents, leases, claims, space, remove }
}
