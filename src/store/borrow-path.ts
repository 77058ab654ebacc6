import type { TensorSet } from '../bridge/tensor-set.ts'
import { finding } from '../core/errors.ts'
import type { SampleRef } from '../core/sample-ref.ts'
import { keyText } from './backend.ts'
import { closedError, type Gate } from './gate.ts'
import type { GetOptions, ReadPath, Wanted } from './read-path.ts'
import type { StoreParts } from './store-parts.ts'

/** A consumer's hold on one sample. Disposing it is the release; disposing it again does nothing. */
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

/** Takes samples for consumers and gives them back. It owns every copy that a consumer holds. */
export class BorrowPath {
  readonly #parts: StoreParts
  readonly #reads: ReadPath
  readonly #gate: Gate
  readonly #held = new Set<TensorSet>()

  constructor(parts: StoreParts, reads: ReadPath, gate: Gate) {
    this.#parts = parts
    this.#reads = reads
    this.#gate = gate
  }

  /** All of them in order, or the first error and nothing held. */
  async lease(refs: readonly SampleRef[], options: GetOptions): Promise<readonly Lease[]> {
    const giveBack = (ref: SampleRef) => this.#parts.leases.drop(ref, false)
    const copies = await this.#borrow(refs, options, (ref) => this.#takeLease(ref), giveBack)
    const failed = copies.find((copy) => copy instanceof Error)
    const good = copies.flatMap((tensors, index) => {
      const ref = refs[index]
      return ref === undefined || tensors instanceof Error ? [] : [{ ref, tensors }]
    })
    if (failed === undefined) return good.map(({ ref, tensors }) => this.#leaseOf(ref, tensors))
    for (const { ref, tensors } of good) await this.#end(tensors, () => giveBack(ref))
    throw failed
  }

  /** One outcome for each ref, in order. */
  async claim(refs: readonly SampleRef[], options: GetOptions): Promise<readonly (Claim | Error)[]> {
    const giveBack = (ref: SampleRef) => this.#giveBack(ref)
    const copies = await this.#borrow(refs, options, (ref) => this.#takeClaim(ref), giveBack)
    return copies.map((tensors, index) => {
      const ref = refs[index]
      return ref === undefined || tensors instanceof Error ? asError(tensors) : this.#claimOf(ref, tensors)
    })
  }

  /** Like disposing it, for who is in an operation already. */
  giveBack({ ref, tensors }: Claim): Promise<void> {
    return this.#end(tensors, () => this.#giveBack(ref))
  }

  async close(): Promise<void> {
    for (const tensors of this.#held) await tensors[Symbol.asyncDispose]()
    this.#held.clear()
    // What it held is for others to take, and it may be theirs by now.
    if (await this.#parts.members.wasFenced()) return
    await this.#parts.claims.close()
    await this.#parts.leases.close()
  }

  async #borrow(
    refs: readonly SampleRef[],
    options: GetOptions,
    take: (ref: SampleRef) => Promise<void>,
    giveBack: (ref: SampleRef) => Promise<void>,
  ): Promise<readonly (TensorSet | Error)[]> {
    const wanted = refs.map((ref) => this.#reads.wanted(ref, options))
    // Held before the read, so that a release in between is not the last one and does not free the sample.
    const refusals = await Promise.all(wanted.map(({ ref }) => take(ref).then(() => null, asError)))
    const taken = wanted.filter((_, index) => refusals[index] === null)
    const copies = (await this.#read(taken, options))[Symbol.iterator]()
    return Promise.all(
      wanted.map(async ({ ref }, index) => {
        const refusal = refusals[index]
        if (refusal instanceof Error) return refusal
        const copy: TensorSet | Error = copies.next().value ?? new Error('the backend answered less than it was asked')
        if (copy instanceof Error) await giveBack(ref)
        else this.#held.add(copy)
        return copy
      }),
    )
  }

  async #read(wanted: readonly Wanted[], options: GetOptions): Promise<readonly (TensorSet | Error)[]> {
    const copies = await this.#reads.read(wanted, options).catch((error: unknown) => wanted.map(() => asError(error)))
    if (!this.#gate.closed) return copies
    for (const copy of copies) if (!(copy instanceof Error)) await copy[Symbol.asyncDispose]()
    return wanted.map(() => closedError('get'))
  }

  async #takeLease(ref: SampleRef): Promise<void> {
    if (!(await this.#parts.leases.take(ref))) throw await this.#reads.whyMissing(ref)
  }

  async #takeClaim(ref: SampleRef): Promise<void> {
    const { leases, claims } = this.#parts
    await this.#takeLease(ref)
    try {
      if ((await claims.take(ref)) === 'ours') return
    } catch (error) {
      await leases.drop(ref, false)
      throw error
    }
    await leases.drop(ref, true)
    throw await this.#reads.whyMissing(ref)
  }

  async #giveBack(ref: SampleRef): Promise<void> {
    await this.#parts.claims.giveBack(ref)
    await this.#parts.leases.drop(ref, false)
  }

  #leaseOf(ref: SampleRef, tensors: TensorSet): Lease {
    const release = () => this.#endInGate('release', tensors, () => this.#parts.leases.drop(ref, !this.#parts.retain))
    return { ref, tensors, [Symbol.asyncDispose]: once(release) }
  }

  #claimOf(ref: SampleRef, tensors: TensorSet): Claim {
    let acknowledged: Promise<void> | undefined
    const giveBack = once(() => this.#endInGate('give back', tensors, () => this.#giveBack(ref)))
    return {
      ref,
      tensors,
      acknowledge: () => {
        acknowledged ??= this.#gate.run('acknowledge', () => this.#acknowledge(ref, tensors))
        return acknowledged
      },
      // Whether it was acknowledged or not: what it still holds is given back, and that is nothing after it was.
      [Symbol.asyncDispose]: async () => {
        await acknowledged?.catch(() => undefined)
        if (this.#held.has(tensors)) await giveBack()
      },
    }
  }

  async #acknowledge(ref: SampleRef, tensors: TensorSet): Promise<void> {
    const { claims, leases, retain } = this.#parts
    if (!this.#held.has(tensors)) throw claimLost(ref, 'it was given back before')
    const ours = retain ? await claims.giveBack(ref) : await claims.acknowledge(ref)
    await this.#end(tensors, () => (ours && !retain ? leases.dropAcknowledged(ref) : leases.drop(ref, false)))
    if (!ours) throw claimLost(ref, 'this process was taken for dead, and another one may have the sample now')
  }

  // The end of a get or claim is no operation of its own: after close(), which has freed all copies, it does nothing.
  async #endInGate(operation: string, tensors: TensorSet, giveBack: () => Promise<void>): Promise<void> {
    if (this.#gate.closed) return
    await this.#gate.run(operation, () => this.#end(tensors, giveBack))
  }

  async #end(tensors: TensorSet, giveBack: () => Promise<void>): Promise<void> {
    this.#held.delete(tensors)
    try {
      await tensors[Symbol.asyncDispose]()
    } finally {
      await giveBack()
    }
  }
}

const claimLost = (ref: SampleRef, found: string) =>
  finding('STORE_BUSY', 'the claim on this sample is lost: nothing was acknowledged', {
    field: keyText(ref),
    found,
    fix: 'throw the outcome of this sample away and go on with the next',
  })

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))

function once(task: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined
  return () => {
    done ??= task()
    return done
  }
}
