import type { Python } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import type { MicroStep } from './batch-plan.ts'
import { OpenClaims } from './open-claims.ts'
import { naming, releaseAll, SampleReader, type SampleReaderOptions } from './sample-reader.ts'

/** The samples of one micro-step, and when they are needed. */
export type StepSamples = Pick<MicroStep, 'epoch' | 'cursor' | 'samples'>

interface BatchAbout<S> {
  readonly handle: number
  readonly step: S
  readonly lost: readonly number[]
}

/** One rank's samples of one micro-step, collated in Python. Whoever takes it from the loader disposes it. */
export class Batch<S extends StepSamples = MicroStep> extends Owned {
  readonly step: S
  /** Samples that could not be read now; their places are empty. */
  readonly lost: readonly number[]

  constructor(python: Python, { handle, step, lost }: BatchAbout<S>) {
    super(python, handle)
    this.step = step
    this.lost = lost
  }
}

export interface LoaderOptions<S extends StepSamples = MicroStep> extends SampleReaderOptions {
  readonly python: Python
  readonly steps: Iterable<S>
  /** The handle of the session that trains on the batches. */
  readonly session: number
  /** Batches that are made ahead of the one in use. */
  readonly prefetch: number
  /** Bytes that the samples of all prefetched batches may have; one batch is always prefetched. Default: no bound. */
  readonly prefetchBytes?: number
}

/**
 * Batches in the order of the plan. They are made one after another, `prefetch` ahead as long as `prefetchBytes` allows,
 * while the engine trains.
 * However the loop over it ends, what was made ahead is freed, and every lease and open claim is given back.
 */
export class Loader<S extends StepSamples = MicroStep> implements AsyncIterable<Batch<S>> {
  readonly #options: LoaderOptions<S>
  readonly #reader: SampleReader
  readonly #claims = new OpenClaims()
  #waitedMs = 0

  constructor(options: LoaderOptions<S>) {
    this.#options = options
    this.#reader = new SampleReader(options)
  }

  /** Milliseconds that the loop has waited for a batch. */
  get waitedMs(): number {
    return this.#waitedMs
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch<S>, void, undefined> {
    await using _claims = this.#claims
    const { steps, prefetch, prefetchBytes = Number.POSITIVE_INFINITY } = this.#options
    const load = (step: S) => ({ bytes: this.#bytesOf(step), batch: () => this.#load(step) })
    await using queue = new PrefetchQueue(steps[Symbol.iterator](), load, { batches: prefetch, bytes: prefetchBytes })
    queue.fill()
    for (let loading = queue.take(); loading !== undefined; loading = queue.take()) {
      const asked = performance.now()
      const batch = await loading
      this.#waitedMs += performance.now() - asked
      queue.fill()
      yield batch
    }
  }

  /** All micro-steps before `cursor` are in a checkpoint: samples that are consumed once are free. */
  durable(cursor: number): Promise<void> {
    return this.#claims.settle(cursor)
  }

  #bytesOf({ samples }: S): number {
    return samples.reduce((sum, sample) => sum + (this.#options.refs.at(sample)?.bytes ?? 0), 0)
  }

  async #load(step: S): Promise<Batch<S>> {
    const { python, maxLength, session, store } = this.#options
    const { holds, lost } = await this.#reader.read(step)
    let batch: Batch<S> | undefined
    try {
      const samples = holds.map((hold) => hold.tensors.handle)
      const { handle } = await python.call('batch.build', { session, samples, maxLength })
      batch = new Batch(python, { handle, step, lost })
      await (store.retain ? releaseAll(holds) : this.#claims.keep(step.cursor, holds))
      return batch
    } catch (error) {
      await releaseAll(batch === undefined ? holds : [batch, ...holds]).catch(() => undefined)
      throw naming(
        holds.map((hold) => hold.ref),
        error,
      )
    }
  }
}

interface PendingBatch<S extends StepSamples> {
  readonly bytes: number
  readonly batch: () => Promise<Batch<S>>
}

/** Batches that are being loaded, in order. It owns those that were not taken. */
class PrefetchQueue<S extends StepSamples> implements AsyncDisposable {
  readonly #steps: Iterator<S>
  readonly #pendingOf: (step: S) => PendingBatch<S>
  readonly #limits: { readonly batches: number; readonly bytes: number }
  readonly #queue: { readonly bytes: number; readonly loading: Promise<Batch<S>> }[] = []
  #next: PendingBatch<S> | undefined
  #bytes = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(steps: Iterator<S>, pendingOf: (step: S) => PendingBatch<S>, limits: { batches: number; bytes: number }) {
    this.#steps = steps
    this.#pendingOf = pendingOf
    this.#limits = limits
    this.#advance()
  }

  /** Starts batches up to the limits, and at least one. */
  fill(): void {
    for (let next = this.#next; next !== undefined && this.#isWithinLimits(next.bytes); next = this.#next) {
      const { bytes, batch } = next
      // After a failure no further batch is loaded; the loop throws it when it takes that batch.
      const loading = this.#last.then(batch)
      loading.catch(() => undefined)
      this.#last = loading
      this.#queue.push({ bytes, loading })
      this.#bytes += bytes
      this.#advance()
    }
  }

  take(): Promise<Batch<S>> | undefined {
    const first = this.#queue.shift()
    this.#bytes -= first?.bytes ?? 0
    return first?.loading
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const made of await Promise.allSettled(this.#queue.map(({ loading }) => loading))) {
      if (made.status === 'fulfilled') await made.value[Symbol.asyncDispose]()
    }
  }

  #isWithinLimits(bytes: number): boolean {
    const { batches, bytes: maxBytes } = this.#limits
    return this.#queue.length === 0 || (this.#queue.length < batches && this.#bytes + bytes <= maxBytes)
  }

  #advance(): void {
    const step = this.#steps.next()
    this.#next = step.done ? undefined : this.#pendingOf(step.value)
  }
}
