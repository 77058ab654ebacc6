import type { OpOutput } from '../../bridge/ops.ts'
import type { Python } from '../../bridge/python.ts'
import { type Owned, TensorSet } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { type CodedError, hasCode } from '../../core/errors.ts'
import { SampleId } from '../../core/ids.ts'
import type { Part } from '../../core/part.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { type NamedConversation, readConversations } from '../conversations/read-conversations.ts'
import {
  atOrigin,
  type FeatureSource,
  type IsKnown,
  type SourceItem,
  type SourceSample,
  withOrigin,
} from './feature-source.ts'

/** A sample that waits until its batch is full. */
interface EncodedSample {
  readonly kind: 'encoded'
  readonly sampleId: SampleId
  readonly where: string
  readonly isPart: boolean
  readonly order: number
  readonly tokens: TensorSet
  readonly about: OpOutput<'capture.encode'>['samples'][number]
}

type Refused = Extract<SourceItem, { kind: 'refused' }>

export interface CaptureSourceOptions {
  readonly config: RunConfig
  readonly files: readonly string[]
  readonly python: Python
  readonly part: Part | null
  /** At most this many padded tokens per forward pass. A longer conversation is a batch of its own. */
  readonly batchTokens: number
}

/** Runs the target on conversations. */
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
    let batch: EncodedSample[] = []
    try {
      for await (const item of this.#encoded(isKnown)) {
        if (item.kind !== 'encoded') {
          yield item
        } else if (fits(batch, item, this.#options.batchTokens)) {
          batch.push(item)
        } else {
          const full = batch
          batch = [item]
          yield* this.#forward(full)
        }
      }
      const last = batch
      batch = []
      yield* this.#forward(last)
    } finally {
      await freeAll(batch)
    }
  }

  /** The samples that the target must run on, and what becomes of all others. */
  async *#encoded(isKnown: IsKnown): AsyncGenerator<EncodedSample | SourceItem> {
    const { config, files, part } = this.#options
    for await (const item of readConversations(files, { runId: config.run.id, limit: config.data.limit, part })) {
      const encoded = item.kind === 'refused' ? item : await this.#encode(item)
      if ('error' in encoded) {
        yield encoded
        continue
      }
      const waiting = [...encoded]
      try {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
          yield (await finished(next, isKnown)) ?? next
        }
      } finally {
        await freeAll(waiting)
      }
    }
  }

  async #encode({ sampleId, where, order, json }: NamedConversation): Promise<readonly EncodedSample[] | Refused> {
    const { config, python } = this.#options
    const call = { session: this.#session.handle, conversation: json, maxLength: config.data.maxLength }
    try {
      const { samples } = await withOrigin(where, () => python.call('capture.encode', call))
      return samples.map((about, index) => ({
        kind: 'encoded',
        sampleId: about.turn === null ? sampleId : SampleId.parse(`${sampleId}:turn-${about.turn}`),
        where,
        isPart: index > 0,
        order,
        tokens: new TensorSet(python, about.set),
        about,
      }))
    } catch (error) {
      return refusedBy(error)
    }
  }

  /** What the target computes for a batch. A sample for which it gives no numbers is refused; the others go on without it. */
  async *#forward(batch: readonly EncodedSample[]): AsyncGenerator<SourceSample | Refused> {
    let left = batch
    const sets: TensorSet[] = []
    try {
      while (left.length > 0) {
        const outcome = await this.#statesOf(left)
        if ('bad' in outcome) {
          yield { kind: 'refused', error: outcome.error }
          left = left.filter((sample) => sample !== outcome.bad)
          continue
        }
        sets.push(...outcome.sets)
        for (const sample of left) {
          const tensors = sets.shift()
          if (tensors === undefined) throw new Error(`capture.forward returned too few sets for ${left.length} samples`)
          yield sampleOf(sample, tensors)
        }
        return
      }
    } finally {
      for (const owned of sets) await owned[Symbol.asyncDispose]()
      await freeAll(batch)
    }
  }

  async #statesOf(
    batch: readonly EncodedSample[],
  ): Promise<{ readonly sets: TensorSet[] } | { readonly bad: EncodedSample; readonly error: Refused['error'] }> {
    const { python } = this.#options
    const session = this.#session.handle
    try {
      const samples = batch.map(({ tokens }) => tokens.handle)
      const { sets } = await python.call('capture.forward', { session, samples })
      return { sets: sets.map((minted) => new TensorSet(python, minted)) }
    } catch (error) {
      if (!hasCode(error, 'FEATURE_INVALID')) throw error
      const bad = batch[Number(/^samples\[(\d+)\]$/.exec(error.details.file ?? '')?.[1])]
      if (bad === undefined) throw error
      return { bad, error: atOrigin(error, bad.where) }
    }
  }
}

/** What becomes of a sample without the target, freed then; null when the target must run on it. */
async function finished(sample: EncodedSample, isKnown: IsKnown): Promise<SourceItem | null> {
  const { sampleId, tokens, about, isPart, order } = sample
  try {
    if (about.lossTokens > 0 && !(await isKnown(sampleId, { order, tokens }))) return null
  } catch (error) {
    await freeAll([sample])
    throw error
  }
  await freeAll([sample])
  return about.lossTokens === 0 ? { kind: 'empty', truncated: about.truncated, isPart } : { kind: 'known', isPart }
}

function refusedBy(error: unknown): Refused {
  if (!hasCode(error, 'FEATURE_INVALID')) throw error
  return { kind: 'refused', error: error as CodedError<'FEATURE_INVALID'> }
}

async function freeAll(samples: readonly EncodedSample[]): Promise<void> {
  for (const { tokens } of samples) await tokens[Symbol.asyncDispose]()
}

/** Whether the batch with `next` in it, padded to its longest sample, has at most `budget` tokens. */
function fits(batch: readonly EncodedSample[], next: EncodedSample, budget: number): boolean {
  const longest = Math.max(next.about.numTokens, ...batch.map(({ about }) => about.numTokens))
  return batch.length === 0 || longest * (batch.length + 1) <= budget
}

function sampleOf({ sampleId, where, isPart, order, about }: EncodedSample, tensors: TensorSet): SourceSample {
  const { numTokens, lossTokens, truncated } = about
  const facts = { trainedTokens: lossTokens, truncated, order }
  const provenance = { from: where.slice(-1000) }
  return { kind: 'sample', sampleId, isPart, origin: where, tensors, numTokens, facts, provenance }
}
