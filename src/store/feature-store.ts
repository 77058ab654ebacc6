import type { TensorSet } from '../bridge/tensor-set.ts'
import { finding, hasCode } from '../core/errors.ts'
import type { SampleId, StoreId } from '../core/ids.ts'
import type { WaitOptions } from '../core/liveness/watch.ts'
import type { SampleRef } from '../core/sample-ref.ts'
import type { StoreKey } from './auth/store-auth.ts'
import { type BlobKey, keyText } from './blob-key.ts'
import type { FoundObject, Inventory } from './blobs/inventory.ts'
import { listedInventory } from './blobs/listed-inventory.ts'
import { type Judgement, type SweepOptions, type SweepReport, sweep } from './maintenance/sweep.ts'
import { BorrowPath, type Claim, type Lease } from './paths/borrow-path.ts'
import { type PutAbout, PutPath } from './paths/put-path.ts'
import { type GetOptions, ReadPath, type Verify } from './paths/read-path.ts'
import { parsedId, parsedRef } from './paths/ref-checks.ts'
import type { OpenSpace, SpaceUsage } from './space/space.ts'
import { StoreOperations } from './store-operations.ts'
import { assembleParts, type StoreParts, type StorePorts } from './store-parts.ts'

export type { Claim, Lease } from './paths/borrow-path.ts'
export type { PutAbout } from './paths/put-path.ts'
export type { GetOptions, Verify } from './paths/read-path.ts'

/** `keep`: the samples that are needed. Without it none is removed that is the newest of its id. */
export type FeatureSweep = Omit<SweepOptions, 'judge'> & { readonly keep?: (key: BlobKey) => boolean }

export interface FeatureStoreOptions {
  readonly id: StoreId
  /** Offline sets are read every epoch: a release keeps the data. Otherwise the last release frees it. */
  readonly retain: boolean
  /** Whether a get compares what it reads with what was put. Default `always`. */
  readonly verify?: Verify
  /** What counts the bytes. Default: nothing does, and there is no bound. */
  readonly space?: OpenSpace
  /** The files that a sweep looks at. Default: the blobs that are listed. */
  readonly files?: Inventory
  /** Default: none. */
  readonly key?: StoreKey | null
}

/** What became of the samples that a consumer wanted to claim. */
export interface ClaimedMany {
  readonly claims: readonly Claim[]
  /** Another living process has them. They may come back. */
  readonly busy: readonly SampleRef[]
  /** Consumed, replaced or aborted. */
  readonly gone: readonly SampleRef[]
}

/** Up to so many refs are looked up one by one; for more the store is listed. */
const FEW = 64

/** All semantics of the store. `Blobs` only moves tensors, and `Coordination` only keeps small facts. */
export class FeatureStore implements AsyncDisposable {
  readonly id: StoreId
  /** A release keeps the data; otherwise samples are consumed once. */
  readonly retain: boolean
  /** This store object among all that have the data open, in all processes. */
  readonly memberId: string
  /** What signs manifests of this store; null in a store without a key. Closing the store closes it. */
  readonly key: StoreKey | null
  readonly #parts: StoreParts
  readonly #operations: StoreOperations
  readonly #inventory: Inventory
  readonly #puts: PutPath
  readonly #borrows: BorrowPath
  #closing: Promise<void> | undefined

  constructor(ports: StorePorts, { id, retain, verify = 'always', space, key = null, files }: FeatureStoreOptions) {
    this.id = id
    this.retain = retain
    this.key = key
    this.memberId = ports.coordination.memberId
    this.#parts = assembleParts(ports, { id, retain, space })
    this.#inventory = files ?? listedInventory(ports.blobs)
    this.#operations = new StoreOperations(this.#parts.members)
    this.#puts = new PutPath(this.#parts)
    this.#borrows = new BorrowPath(this.#parts, new ReadPath(this.#parts, verify), this.#operations)
  }

  /** The way in for everybody else: a member that is known by its id has its place already, so it can be fenced. */
  static async open(ports: StorePorts, options: FeatureStoreOptions): Promise<FeatureStore> {
    const store = new FeatureStore(ports, options)
    try {
      await store.#parts.members.join()
      await ports.coordination.inReserve(() => store.#parts.space.open())
      return store
    } catch (error) {
      await store.close().catch(() => undefined)
      throw error
    }
  }

  /** Samples that are leased right now, by this store object. */
  get leases(): number {
    return this.#parts.leases.size + this.#parts.claims.size
  }

  /** Publishes a copy of `tensors` as the newest generation of the sample; older ones are gone when it returns. */
  put(sampleId: SampleId, tensors: TensorSet, about: PutAbout): Promise<SampleRef> {
    return this.#operations.run('put', () => this.#puts.put(parsedId(sampleId), tensors, about))
  }

  /** The bytes that were put under exactly this ref. SAMPLE_STALE or SAMPLE_NOT_FOUND when they are not there. */
  async get(ref: SampleRef, options: GetOptions = {}): Promise<Lease> {
    const [lease] = await this.getMany([ref], options)
    if (lease === undefined) throw new Error('a get without an outcome')
    return lease
  }

  /** Several gets with one call of `Blobs.read`. All of them, in order, or the first error and nothing leased. */
  getMany(refs: readonly SampleRef[], options: GetOptions = {}): Promise<readonly Lease[]> {
    return this.#operations.run('get', async () => {
      return this.#borrows.lease(
        refs.map((ref) => this.#ownRef(ref)),
        options,
      )
    })
  }

  /**
   * The bytes under this ref and the sole right, among all processes, to do the work on them.
   * @throws STORE_BUSY while another living process has it.
   */
  claim(ref: SampleRef, options: GetOptions = {}): Promise<Claim> {
    return this.#operations.run('claim', async () => {
      const [outcome] = await this.#borrows.claim([this.#ownRef(ref)], options)
      if (outcome === undefined || outcome instanceof Error) throw outcome
      return outcome
    })
  }

  /** Claims what it can, with one call of `Blobs.read`. Throws, and gives all back, only when a sample is damaged. */
  claimMany(refs: readonly SampleRef[], options: GetOptions = {}): Promise<ClaimedMany> {
    return this.#operations.run('claim', async () => {
      const own = refs.map((ref) => this.#ownRef(ref))
      const outcomes = await this.#borrows.claim(own, options)
      const claims = outcomes.filter((outcome): outcome is Claim => !(outcome instanceof Error))
      const busy = own.filter((_, index) => hasCode(outcomes[index], 'STORE_BUSY'))
      const gone = own.filter((_, index) => hasCode(outcomes[index], 'SAMPLE_NOT_FOUND', 'SAMPLE_STALE'))
      if (claims.length + busy.length + gone.length === own.length) return { claims, busy, gone }
      for (const claim of claims) await this.#borrows.giveBack(claim).catch(() => undefined)
      throw outcomes.find((outcome) => outcome instanceof Error && !hasCode(outcome, ...NORMAL))
    })
  }

  /** Those of `refs` whose exact generation is not stored. Reads no sample, and lists the store at most once. */
  missing(refs: readonly SampleRef[]): Promise<readonly SampleRef[]> {
    return this.#operations.run('missing', async () => {
      const { blobs } = this.#parts
      if (refs.length <= FEW) {
        const found = await Promise.all(refs.map((ref) => blobs.has(ref)))
        return refs.filter((_, index) => found[index] !== true)
      }
      const stored = new Set((await blobs.list()).map(keyText))
      return refs.filter((ref) => !stored.has(keyText(ref)))
    })
  }

  /** Removes all generations of a sample, also a half-made one. Says nothing when there is none. */
  abort(sampleId: SampleId): Promise<void> {
    return this.#operations.run('abort', () => this.#puts.abort(parsedId(sampleId)))
  }

  /** Takes a damaged sample out of reach of everybody and keeps it, with the reason beside it, for a person to look at. */
  quarantine(ref: SampleRef, reason: string): Promise<void> {
    return this.#operations.run('quarantine', () => this.#puts.quarantine(this.#ownRef(ref), reason))
  }

  /**
   * The manifest with this root (an absolute path, links resolved) is complete: from here on, and as long as the file is
   * there, no put for another manifest replaces a sample that was put for it, unless it says so.
   */
  protect(manifest: string): Promise<void> {
    return this.#operations.run('protect', () => this.#parts.manifests.add(manifest))
  }

  /** From here on nothing that another member does has an effect: neither its puts nor its acknowledgements. */
  fence(memberId: string): Promise<void> {
    return this.#operations.run('fence', () => this.#parts.members.fence(parsedMember(memberId)))
  }

  /**
   * Watches the members that cannot be seen from here until each is known to live or to be dead. Afterwards what dead
   * ones held can be claimed at once. A claim itself never waits.
   */
  settleMembers(wait: WaitOptions = {}): Promise<void> {
    return this.#operations.run('settleMembers', () => this.#parts.members.settle(wait))
  }

  /**
   * Removes what nobody needs: replaced generations, what dead processes left and, where `keep` says which samples are
   * needed, the others. Never what a living process holds, nor what is younger than the grace.
   */
  sweep({ keep, ...options }: FeatureSweep): Promise<SweepReport> {
    const judge =
      keep === undefined ? null : async ({ key }: FoundObject): Promise<Judgement> => (keep(key) ? 'listed' : 'orphan')
    return this.#operations.run('sweep', () => sweep(this.#parts, this.#inventory, { ...options, judge }))
  }

  /** What the stored samples take up. */
  usage(): Promise<SpaceUsage> {
    return this.#operations.run('usage', () => this.#parts.space.usage())
  }

  /** Waits for what is under way, then frees everything this store object holds, leases and claims included. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await this.#operations.close()
    // Ended from the last one up, each one also where another failed.
    await using _key = this.key
    await using _blobs = { [Symbol.asyncDispose]: () => this.#parts.blobs.close() }
    await using _member = { [Symbol.asyncDispose]: () => this.#parts.members.leave() }
    await this.#borrows.close()
  }

  #ownRef(given: SampleRef): SampleRef {
    const ref = parsedRef(given)
    if (ref.storeId === this.id) return ref
    throw finding('REF_INVALID', `the ref of ${ref.sampleId} points to another store`, {
      field: 'storeId',
      found: `${ref.storeId}; this store is ${this.id}`,
      fix: 'open the store that the manifest was written for',
    })
  }
}

const NORMAL = ['STORE_BUSY', 'SAMPLE_NOT_FOUND', 'SAMPLE_STALE'] as const

function parsedMember(given: string): string {
  if (/^m[0-9a-f]{16}$/.test(given)) return given
  const fix = 'take it from the memberId of a store, or from a claim that names one'
  throw finding('REF_INVALID', 'this is not a member of a store', { field: 'memberId', found: given.slice(0, 80), fix })
}
