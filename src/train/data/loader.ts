import type { Python } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import type { MicroStep } from './batch-plan.ts'
import { OpenClaims } from './open-claims.ts'
import { naming, releaseAll, SampleReader, type SampleReaderOptions } from './sample-reader.ts'

/** What a loader has to know of a step: which samples it needs, and when. */
export type Portion = Pick<MicroStep, 'epoch' | 'cursor' | 'samples'>

interface BatchAbout<S> {
  readonly handle: number
  readonly step: S
  readonly lost: readonly number[]
}

/** One rank's samples of one micro-step, collated in Python. Whoever takes it from the loader disposes it. */
export class Batch<S extends Portion = MicroStep> extends Owned {
  readonly step: S
  /** Samples whose places are empty because they could not be read just now. */
  readonly lost: readonly number[]

  constructor(python: Python, { handle, step, lost }: BatchAbout<S>) {
    super(python, handle)
    this.step = step
    this.lost = lost
  }
}

export interface LoaderOptions<S extends Portion = MicroStep> extends SampleReaderOptions {
  readonly python: Python
  readonly steps: Iterable<S>
  /** The handle of the session that trains on the batches. */
  readonly session: number
  /** Batches that are made ahead of the one in use. */
  readonly prefetch: number
  /** How large the samples of all of these may be; the next batch is made ahead whatever its size. Default: no bound. */
  readonly prefetchBytes?: number
}

/**
 * Batches in the order of the plan. They are made one after another, `prefetch` ahead as long as `prefetchBytes` allows,
 * while the engine trains.
 * However the loop over it ends, what was made ahead is freed, and every lease and open claim is given back.
 */
export class Loader<S extends Portion = MicroStep> implements AsyncIterable<Batch<S>> {
  readonly #options: LoaderOptions<S>
  readonly #reader: SampleReader
  readonly #claims = new OpenClaims()
  #waitedMs = 0

  constructor(options: LoaderOptions<S>) {
    this.#options = options
    this.#reader = new SampleReader(options)
  }

  /** How long the loop has stood still for want of a batch. */
  get waitedMs(): number {
    return this.#waitedMs
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch<S>, void, undefined> {
    await using _claims = this.#claims
    const { steps, prefetch, prefetchBytes = Number.POSITIVE_INFINITY } = this.#options
    const load = (step: S) => ({ bytes: this.#bytesOf(step), batch: () => this.#load(step) })
    await using ahead = new Ahead(steps[Symbol.iterator](), load, { batches: prefetch, bytes: prefetchBytes })
    ahead.fill()
    for (let loading = ahead.take(); loading !== undefined; loading = ahead.take()) {
      const asked = performance.now()
      const batch = await loading
      this.#waitedMs += performance.now() - asked
      ahead.fill()
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
      await batch?.[Symbol.asyncDispose]()
      await releaseAll(holds)
      throw naming(
        holds.map((hold) => hold.ref),
        error,
      )
    }
  }
}

interface Order<S extends Portion> {
  readonly bytes: number
  readonly batch: () => Promise<Batch<S>>
}

/** Batches under way, in order. It owns those that nobody has taken. */
class Ahead<S extends Portion> implements AsyncDisposable {
  readonly #steps: Iterator<S>
  readonly #order: (step: S) => Order<S>
  readonly #room: { readonly batches: number; readonly bytes: number }
  readonly #queue: { readonly bytes: number; readonly loading: Promise<Batch<S>> }[] = []
  #next: Order<S> | undefined
  #bytes = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(steps: Iterator<S>, order: (step: S) => Order<S>, room: { batches: number; bytes: number }) {
    this.#steps = steps
    this.#order = order
    this.#room = room
    this.#advance()
  }

  /** Begins what there is room for, and one batch in any case. */
  fill(): void {
    for (let next = this.#next; next !== undefined && this.#hasRoom(next.bytes); next = this.#next) {
      const { bytes, batch } = next
      // A failure goes down the chain: nothing is loaded after it, and the loop meets it in its turn.
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

  #hasRoom(bytes: number): boolean {
    const { batches, bytes: most } = this.#room
    return this.#queue.length === 0 || (this.#queue.length < batches && this.#bytes + bytes <= most)
  }

  #advance(): void {
    const step = this.#steps.next()
    this.#next = step.done ? undefined : this.#order(step.value)
  }
}
