import type { Python } from '../../bridge/python.ts'
import type { Owned } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import type { Part } from '../../core/part.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { BatchPool } from './batch-pool.ts'
import { EncodedConversations, type EncodedSample, freeAll } from './encoded-conversations.ts'
import type { FeatureSource, IsKnown, SourceItem } from './feature-source.ts'
import { TargetBatch } from './target-batch.ts'

/** How many batches' tokens wait for the target: of 32, six per cent of each batch is padding, of 8 twice as much. */
const POOL_BATCHES = 32

export interface CaptureSourceOptions {
  readonly config: RunConfig
  readonly files: readonly string[]
  readonly python: Python
  readonly part: Part | null
  /** Of the conversations, as their survey found them. */
  readonly sha256: string
  /** At most this many padded tokens per forward pass. A longer conversation is a batch of its own. */
  readonly batchTokens: number
  /** The device computes while this process goes on: a batch is begun before the one before it is stored. */
  readonly overlap: boolean
}

/**
 * Runs the target on conversations. On a GPU, one batch is computed while the one before it is stored and the
 * conversations of the next one are encoded.
 */
export class CaptureSource implements FeatureSource {
  readonly contract: CaptureContract
  readonly #options: CaptureSourceOptions
  readonly #session: Owned

  constructor(options: CaptureSourceOptions, session: Owned, contract: CaptureContract) {
    this.contract = contract
    this.#options = options
    this.#session = session
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#session[Symbol.asyncDispose]()
  }

  async *items(isKnown: IsKnown): AsyncGenerator<SourceItem> {
    const { python, overlap } = this.#options
    let running: TargetBatch | null = null
    try {
      for await (const item of this.#batches(isKnown)) {
        if (!Array.isArray(item)) {
          yield item
          continue
        }
        const before: TargetBatch | null = running
        running = await TargetBatch.begin(python, this.#session.handle, item)
        if (before !== null) yield* before.samples()
        if (overlap) continue
        yield* running.samples()
        running = null
      }
      if (running !== null) yield* running.samples()
    } finally {
      await running?.[Symbol.asyncDispose]()
    }
  }

  /** Batches of samples for the target, and what becomes of all other inputs. The receiver owns the batches. */
  async *#batches(isKnown: IsKnown): AsyncGenerator<EncodedSample[] | SourceItem> {
    const { batchTokens, config, files, python, part, sha256 } = this.#options
    const reader = new EncodedConversations({ config, files, python, part, sha256, session: this.#session.handle })
    const pool = new BatchPool(batchTokens, POOL_BATCHES)
    try {
      for await (const item of reader.items(isKnown)) {
        if (item.kind !== 'encoded') {
          yield item
          continue
        }
        pool.add(item)
        while (pool.isFull) yield pool.take()
      }
      while (!pool.isEmpty) yield pool.take()
    } finally {
      await freeAll(python, pool.takeAll())
    }
  }
}
