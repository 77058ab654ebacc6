import { TensorSet } from '../../bridge/tensor-set.ts'
import { finding } from '../../core/errors.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { keyText } from '../blob-key.ts'

import { closedError, type StoreOperations } from '../store-operations.ts'
import type { StoreParts } from '../store-parts.ts'
import type { GetOptions, ReadPath, Wanted } from './read-path.ts'

/** A consumer's right to use one sample. Disposing it releases the sample; disposing it again does nothing. */
export interface Lease extends AsyncDisposable {
  readonly ref: SampleRef
  /** The consumer's own copy, freed with the lease. */
  readonly tensors: TensorSet
}

/** The right to do the work on a sample, which no other process has. Disposing it without `acknowledge` gives it back. */
export interface Claim extends AsyncDisposable {
  readonly ref: SampleRef
  /** The consumer's own copy, freed with the claim. */
  readonly tensors: TensorSet
  /**
   * Call it when the outcome of the work is durable: the sample is consumed, and freed unless the store retains.
   * @throws STORE_BUSY when this process was taken for dead meanwhile and another one has the claim.
   */
  acknowledge(): Promise<void>
}

/** Whether a lease or claim on a sample was taken: false when the sample is gone, the error when it failed. */
type Taken = boolean | Error
type Found = TensorSet | Error | null

/** Takes samples for consumers and gives them back. It owns every copy that a consumer holds. */
export class BorrowPath {
  readonly #parts: StoreParts
  readonly #reads: ReadPath
  readonly #operations: StoreOperations
  readonly #held = new Set<TensorSet>()

  constructor(parts: StoreParts, reads: ReadPath, operations: StoreOperations) {
    this.#parts = parts
    this.#reads = reads
    this.#operations = operations
  }

  /** Leases for all refs, in order. If one fails, throws the first error and releases all others. */
  async lease(refs: readonly SampleRef[], options: GetOptions): Promise<readonly Lease[]> {
    const giveBack = (ref: SampleRef) => this.#parts.leases.drop(ref, false)
    const wanted = refs.map((ref) => this.#reads.wanted(ref, options))
    // At the same time: SharedLeases says why that is safe. A read is wasted when the lease fails, which is rare.
    const [found, taken] = await Promise.all([
      this.#read(wanted, options),
      outcomes(refs, (ref) => this.#parts.leases.take(ref)),
    ])
    const copies = await this.#settle(refs, taken, found, giveBack)
    const failed = copies.find((copy) => copy instanceof Error)
    const good = copies.flatMap((tensors, index) => {
      const ref = refs[index]
      return ref === undefined || tensors instanceof Error ? [] : [{ ref, tensors }]
    })
    if (failed === undefined) return good.map(({ ref, tensors }) => this.#leaseOf(ref, tensors))
    for (const { ref, tensors } of good) await this.#end(tensors, () => giveBack(ref)).catch(() => undefined)
    throw failed
  }

  /** One outcome for each ref, in order. */
  async claim(refs: readonly SampleRef[], options: GetOptions): Promise<readonly (Claim | Error)[]> {
    const wanted = refs.map((ref) => this.#reads.wanted(ref, options))
    // Read only after the claim: otherwise several consumers that want the same samples would each read them all.
    const taken = await outcomes(refs, (ref) => this.#takeClaim(ref))
    const ours = wanted.filter((_, index) => taken[index] === true)
    const read = (await this.#read(ours, options))[Symbol.iterator]()
    const found = taken.map((each) => (each === true ? (read.next().value ?? null) : null))
    const copies = await this.#settle(refs, taken, found, (ref) => this.#giveBack(ref))
    return copies.map((tensors, index) => {
      const ref = refs[index]
      return ref === undefined || tensors instanceof Error ? asError(tensors) : this.#claimOf(ref, tensors)
    })
  }

  /** As disposing the claim, for callers that are inside an operation of the store already. */
  giveBack({ ref, tensors }: Claim): Promise<void> {
    return this.#end(tensors, () => this.#giveBack(ref))
  }

  async close(): Promise<void> {
    for (const tensors of this.#held) await tensors[Symbol.asyncDispose]()
    this.#held.clear()
    // A fenced member's claims and leases are for others to take, and may be theirs already.
    if (await this.#parts.members.wasFenced()) return
    await this.#parts.claims.close()
    await this.#parts.leases.close()
  }

  /** Never rejects: the leases that are taken at the same time must be waited for. */
  async #read(wanted: readonly Wanted[], options: GetOptions): Promise<readonly Found[]> {
    if (wanted.length === 0) return []
    return this.#reads.read(wanted, options).catch((error: unknown) => wanted.map(() => asError(error)))
  }

  /** Keeps the copies of samples that were both taken and read. Frees all others and returns the reason of each. */
  #settle(
    refs: readonly SampleRef[],
    taken: readonly Taken[],
    found: readonly Found[],
    giveBack: (ref: SampleRef) => Promise<void>,
  ): Promise<readonly (TensorSet | Error)[]> {
    return Promise.all(
      refs.map(async (ref, index) => {
        const [ours = false, copy = null] = [taken[index], found[index]]
        if (ours === true && copy instanceof TensorSet && !this.#operations.closed) {
          this.#held.add(copy)
          return copy
        }
        const why = await this.#whyNot(ref, ours, copy)
        const drop = async () => (ours === true ? giveBack(ref) : undefined)
        // Why the sample was not taken is what the caller must learn, also where giving it back fails.
        await (copy instanceof TensorSet ? this.#end(copy, drop) : drop()).catch(() => undefined)
        return why
      }),
    )
  }

  // If the lease failed, its error is the cause, whatever the read returned.
  async #whyNot(ref: SampleRef, taken: Taken, found: Found): Promise<Error> {
    if (taken instanceof Error) return taken
    if (taken && this.#operations.closed) return closedError('get')
    if (taken && found instanceof Error) return found
    return this.#reads.whyMissing(ref).catch(asError)
  }

  /** False when the sample is gone. */
  async #takeClaim(ref: SampleRef): Promise<boolean> {
    const { blobs, leases, claims } = this.#parts
    if ((await claims.take(ref)) === 'gone') {
      await leases.retire(ref)
      return false
    }
    let stored = false
    try {
      // Claims go after the sample: who got one because they have gone already does not find the sample.
      stored = await blobs.has(ref)
      if (!stored) await claims.end(ref)
    } finally {
      if (!stored) await this.#giveBack(ref)
    }
    return stored
  }

  async #giveBack(ref: SampleRef): Promise<void> {
    await this.#parts.claims.giveBack(ref)
  }

  #leaseOf(ref: SampleRef, tensors: TensorSet): Lease {
    const release = () => this.#endBorrow('release', tensors, () => this.#parts.leases.drop(ref, !this.#parts.retain))
    return { ref, tensors, [Symbol.asyncDispose]: once(release) }
  }

  #claimOf(ref: SampleRef, tensors: TensorSet): Claim {
    let acknowledged: Promise<void> | undefined
    const giveBack = once(() => this.#endBorrow('give back', tensors, () => this.#giveBack(ref)))
    return {
      ref,
      tensors,
      acknowledge: () => {
        acknowledged ??= this.#operations.run('acknowledge', () => this.#acknowledge(ref, tensors))
        return acknowledged
      },
      // After an acknowledgement there is nothing left to give back.
      [Symbol.asyncDispose]: async () => {
        await acknowledged?.catch(() => undefined)
        if (this.#held.has(tensors)) await giveBack()
      },
    }
  }

  async #acknowledge(ref: SampleRef, tensors: TensorSet): Promise<void> {
    const { claims, leases, retain } = this.#parts
    if (!this.#held.has(tensors)) throw claimLost(ref, 'the claim has already been given back')
    const ours = retain ? await claims.giveBack(ref) : await claims.acknowledge(ref)
    await this.#end(tensors, async () => {
      if (ours && !retain) await leases.retire(ref)
    })
    if (!ours) throw claimLost(ref, 'this process was taken for dead, and another one may have the sample now')
  }

  // After close(), which has freed all copies, releasing a lease or claim does nothing.
  async #endBorrow(operation: string, tensors: TensorSet, giveBack: () => Promise<void>): Promise<void> {
    if (this.#operations.closed) return
    await this.#operations.run(operation, () => this.#end(tensors, giveBack))
  }

  async #end(tensors: TensorSet, giveBack: () => Promise<void>): Promise<void> {
    this.#held.delete(tensors)
    await using _given = { [Symbol.asyncDispose]: giveBack }
    await tensors[Symbol.asyncDispose]()
  }
}

const claimLost = (ref: SampleRef, found: string) =>
  finding('STORE_BUSY', 'the claim on this sample is lost: nothing was acknowledged', {
    field: keyText(ref),
    found,
    fix: 'discard the result of this sample and continue with the next one',
  })

const outcomes = (refs: readonly SampleRef[], take: (ref: SampleRef) => Promise<boolean>): Promise<readonly Taken[]> =>
  Promise.all(refs.map((ref) => take(ref).catch(asError)))

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))

function once(task: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined
  return () => {
    done ??= task()
    return done
  }
}
