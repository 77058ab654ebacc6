import type { OpOutput } from '../../bridge/ops.ts'
import type { Python } from '../../bridge/python.ts'
import { Owned, TensorSet } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding, hasCode } from '../../core/errors.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { inputsText } from '../../refs/root/inputs.ts'
import { sha256 } from '../../refs/sha256.ts'
import { auxLayersOf } from '../train/draft-config-file.ts'
import { type NamedConversation, readConversations, surveyConversations } from './conversation-file.ts'
import {
  atOrigin,
  type FeatureSource,
  type IsKnown,
  type SourceItem,
  type SourcePlan,
  type SourceSample,
  withOrigin,
} from './feature-source.ts'

/** The plan to capture features: the target runs on the conversations of `data.conversations`. */
export async function planCapture(config: RunConfig, python: Python): Promise<SourcePlan> {
  const { run, target, data, draft } = config
  const file = data.conversations
  if (file === null) {
    throw finding('CONFIG_INVALID', 'there are no conversations to capture', {
      field: 'data.conversations',
      found: 'null',
      fix: 'name a .jsonl file of conversations, or set features.source to files',
    })
  }
  const { total, sha256: sum } = await surveyConversations(file, run.id, data.limit)
  const { dtype, tokenizer } = target
  const inputs = inputsText({
    'data.conversations': sum,
    'data.maxLength': data.maxLength,
    'target.dtype': dtype,
    ...(data.teacher ? { 'data.teacher': 'stored' } : {}),
    'target.tokenizer': tokenizer === null ? 'of-the-model' : sha256(tokenizer).slice(0, 16),
  })
  const open = async () => {
    const { shape } = await python.call('target.describe', { model: target.model })
    const auxLayers = await auxLayersOf(draft, shape)
    const opened = await python.call('capture.open', { target, data, draft, auxLayers, threads: 0 })
    const { handle, device, contract } = opened
    // On a CPU, a batch is no faster and padding costs time. Alone, a sample's bits do not depend on other samples.
    const batchTokens = device === 'cpu' ? 1 : data.batchTokens
    return new CaptureSource({ config, file, python, batchTokens }, new Owned(python, handle), contract)
  }
  // `inputs` contains the digest of all lines, so a published ref is always current.
  return { inputs, total, isCurrent: () => true, open }
}

/** An encoded conversation that waits until its batch is full. */
interface EncodedConversation extends NamedConversation {
  readonly tokens: TensorSet
  readonly about: OpOutput<'capture.encode'>
}

interface CaptureSourceOptions {
  readonly config: RunConfig
  readonly file: string
  readonly python: Python
  /** At most this many padded tokens per forward pass. A longer conversation is a batch of its own. */
  readonly batchTokens: number
}

class CaptureSource implements FeatureSource {
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
    const { config, file, batchTokens } = this.#options
    let batch: EncodedConversation[] = []
    try {
      for await (const conversation of readConversations(file, config.run.id, config.data.limit)) {
        if (await isKnown(conversation.sampleId)) {
          yield { kind: 'known' }
          continue
        }
        const next = await this.#encode(conversation)
        if (next.about.lossTokens === 0) {
          await next.tokens[Symbol.asyncDispose]()
          yield { kind: 'empty', truncated: next.about.truncated }
          continue
        }
        if (!fits(batch, next, batchTokens)) {
          const full = batch
          batch = [next]
          yield* this.#forward(full)
        } else {
          batch.push(next)
        }
      }
      yield* this.#forward(batch)
    } finally {
      for (const { tokens } of batch) await tokens[Symbol.asyncDispose]()
    }
  }

  async #encode(named: NamedConversation): Promise<EncodedConversation> {
    const { conversation, where } = named
    const { config, python } = this.#options
    const { maxLength } = config.data
    const session = this.#session.handle
    const about = await withOrigin(where, () => python.call('capture.encode', { session, conversation, maxLength }))
    return { ...named, tokens: new TensorSet(python, about.set), about }
  }

  async *#forward(batch: readonly EncodedConversation[]): AsyncGenerator<SourceSample> {
    if (batch.length === 0) return
    const sets: TensorSet[] = []
    try {
      sets.push(...(await this.#statesOf(batch)))
      for (const waiting of batch) {
        const tensors = sets.shift()
        if (tensors === undefined) throw new Error(`capture.forward returned too few sets for ${batch.length} samples`)
        yield sampleOf(waiting, tensors)
      }
    } finally {
      for (const owned of [...sets, ...batch.map(({ tokens }) => tokens)]) await owned[Symbol.asyncDispose]()
    }
  }

  async #statesOf(batch: readonly EncodedConversation[]): Promise<TensorSet[]> {
    const { python, file } = this.#options
    const session = this.#session.handle
    try {
      const samples = batch.map(({ tokens }) => tokens.handle)
      const { sets } = await python.call('capture.forward', { session, samples })
      return sets.map((minted) => new TensorSet(python, minted))
    } catch (error) {
      if (!hasCode(error, 'FEATURE_INVALID')) throw error
      const index = Number(/^samples\[(\d+)\]$/.exec(error.details.file ?? '')?.[1])
      throw atOrigin(error, batch[index]?.where ?? file)
    }
  }
}

/** Whether the batch with `next` in it, padded to its longest sample, has at most `budget` tokens. */
function fits(batch: readonly EncodedConversation[], next: EncodedConversation, budget: number): boolean {
  const longest = Math.max(next.about.numTokens, ...batch.map(({ about }) => about.numTokens))
  return batch.length === 0 || longest * (batch.length + 1) <= budget
}

function sampleOf({ sampleId, where, about }: EncodedConversation, tensors: TensorSet): SourceSample {
  const { numTokens, lossTokens, truncated } = about
  const facts = { trainedTokens: lossTokens, truncated }
  const provenance = { from: where.slice(-1000) }
  return { kind: 'sample', sampleId, origin: where, tensors, numTokens, facts, provenance }
}
