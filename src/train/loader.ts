import type { Python } from '../bridge/python.ts'
import { Owned } from '../bridge/tensor-set.ts'
import type { MicroStep } from './batch-plan.ts'
import { OpenClaims } from './open-claims.ts'
import { naming, releaseAll, SampleReader, type SampleReaderOptions } from './sample-reader.ts'

interface BatchAbout {
  readonly handle: number
  readonly step: MicroStep
  readonly lost: readonly number[]
}

/** One rank's samples of one micro-step, collated in Python. Whoever takes it from the loader disposes it. */
export class Batch extends Owned {
  readonly step: MicroStep
  /** Samples whose places are empty because they could not be read just now. */
  readonly lost: readonly number[]

  constructor(python: Python, { handle, step, lost }: BatchAbout) {
    super(python, handle)
    this.step = step
    this.lost = lost
  }
}

export interface LoaderOptions extends SampleReaderOptions {
  readonly python: Python
  readonly steps: Iterable<MicroStep>
  /** The handle of the session that trains on the batches. */
  readonly session: number
  /** Batches that are made ahead of the one in use. */
  readonly prefetch: number
}

/**
 * Batches in the order of the plan. They are made one after another, `prefetch` ahead, while the engine trains.
 * However the loop over it ends, what was made ahead is freed, and every lease and open claim is given back.
 */
export class Loader implements AsyncIterable<Batch> {
  readonly #options: LoaderOptions
  readonly #reader: SampleReader
  readonly #claims = new OpenClaims()
  #waitedMs = 0

  constructor(options: LoaderOptions) {
    this.#options = options
    this.#reader = new SampleReader(options)
  }

  /** How long the loop has stood still for want of a batch. */
  get waitedMs(): number {
    return this.#waitedMs
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    await using _claims = this.#claims
    await using ahead = new Ahead(this.#options.steps[Symbol.iterator](), (step) => this.#load(step))
    for (let count = 0; count < this.#options.prefetch; count += 1) ahead.begin()
    for (let loading = ahead.take(); loading !== undefined; loading = ahead.take()) {
      const asked = performance.now()
      const batch = await loading
      this.#waitedMs += performance.now() - asked
      ahead.begin()
      yield batch
    }
  }

  /** All micro-steps before `cursor` are in a checkpoint: samples that are consumed once are free. */
  durable(cursor: number): Promise<void> {
    return this.#claims.settle(cursor)
  }

  async #load(step: MicroStep): Promise<Batch> {
    const { python, maxLength, session, store } = this.#options
    const { holds, lost } = await this.#reader.read(step)
    let batch: Batch | undefined
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

/** Batches under way, in order. It owns those that nobody has taken. */
class Ahead implements AsyncDisposable {
  readonly #steps: Iterator<MicroStep>
  readonly #load: (step: MicroStep) => Promise<Batch>
  readonly #queue: Promise<Batch>[] = []
  #last: Promise<unknown> = Promise.resolve()

  constructor(steps: Iterator<MicroStep>, load: (step: MicroStep) => Promise<Batch>) {
    this.#steps = steps
    this.#load = load
  }

  begin(): void {
    const next = this.#steps.next()
    if (next.done) return
    // A failure goes down the chain: nothing is loaded after it, and the loop meets it in its turn.
    const loading = this.#last.then(() => this.#load(next.value))
    loading.catch(() => undefined)
    this.#last = loading
    this.#queue.push(loading)
  }

  take(): Promise<Batch> | undefined {
    return this.#queue.shift()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const made of await Promise.allSettled(this.#queue)) {
      if (made.status === 'fulfilled') await made.value[Symbol.asyncDispose]()
    }
  }
}
