import type { Claim } from '../../store/feature-store.ts'
import { type Hold, releaseAll } from './sample-reader.ts'

/**
 * Claims of a run whose samples are consumed once, from the time that a batch is made until a checkpoint contains its
 * step. Disposing gives open claims back, so that another run, or this one when it resumes, trains on the samples.
 */
export class OpenClaims implements AsyncDisposable {
  #open: { readonly cursor: number; readonly claim: Claim }[] = []
  #settling: Promise<void> = Promise.resolve()

  /** Frees the tensors, which the batch now contains, and keeps the claims. */
  async keep(cursor: number, holds: readonly Hold[]): Promise<void> {
    for (const hold of holds) {
      if (!('acknowledge' in hold)) throw new Error('a lease is no claim')
      this.#open.push({ cursor, claim: hold })
      await hold.tensors[Symbol.asyncDispose]()
    }
  }

  /** All micro-steps before `cursor` are durable. Resolves when the store knows; training need not wait for that. */
  settle(cursor: number): Promise<void> {
    const due = this.#open.filter((open) => open.cursor < cursor)
    this.#open = this.#open.filter((open) => open.cursor >= cursor)
    this.#settling = this.#settling.then(() => acknowledgeAll(due.map(({ claim }) => claim)))
    // The next call, or the disposal, throws the failure.
    this.#settling.catch(() => undefined)
    return this.#settling
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const [settled] = await Promise.allSettled([this.#settling])
    const open = this.#open
    this.#open = []
    const given = releaseAll(open.map(({ claim }) => claim))
    if (settled.status === 'fulfilled') return await given
    // What settling threw came first.
    await Promise.allSettled([given])
    throw settled.reason
  }
}

async function acknowledgeAll(claims: readonly Claim[]): Promise<void> {
  let first: { readonly error: unknown } | undefined
  for (const claim of claims) {
    try {
      await claim.acknowledge()
    } catch (error) {
      first ??= { error }
      await Promise.allSettled([claim[Symbol.asyncDispose]()])
    }
  }
  if (first !== undefined) throw first.error
}
