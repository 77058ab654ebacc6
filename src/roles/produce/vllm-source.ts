import { rm } from 'node:fs/promises'
import path from 'node:path'
import type { OpOutput } from '../../bridge/ops.ts'
import type { Python } from '../../bridge/python.ts'
import { Owned, TensorSet } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding, hasCode } from '../../core/errors.ts'
import type { Part } from '../../core/part.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { VllmProcess } from '../../launch/vllm-process.ts'
import { EncodedConversations, type EncodedSample, freeAll } from './encoded-conversations.ts'
import { atOrigin, type FeatureSource, type IsKnown, type SourceItem } from './feature-source.ts'
import { itemsUnderWay, nextOf } from './items-under-way.ts'
import { notFinite, sampleOf } from './target-batch.ts'

/** What vLLM computes and what waits in the scratch folder, together. The weight is in bytes of states. */
const LIMITS = { tasks: 256, weight: 4 * 2 ** 30 }
/** Of how many likely tokens at each position the probe compares the logprobs: what vLLM gives at most by default. */
const PROBE_LOGPROBS = 20
const BYTES = { float32: 4, bfloat16: 2, float16: 2 }

export interface VllmSourceOptions {
  readonly config: RunConfig
  readonly files: readonly string[]
  readonly python: Python
  readonly part: Part | null
  /** Of the conversations, as their survey found them. */
  readonly sha256: string
  readonly auxLayers: readonly number[]
}

/** Runs the target on conversations in vLLM, and stores the files that vLLM writes while it goes on. */
export class VllmSource implements FeatureSource {
  readonly contract: CaptureContract
  readonly #options: VllmSourceOptions
  readonly #session: Owned
  readonly #engine: VllmProcess
  readonly #bytesPerToken: number

  private constructor(options: VllmSourceOptions, session: Owned, engine: VllmProcess, opened: OpOutput<'vllm.open'>) {
    const { contract, layers } = opened
    this.contract = { ...contract, engine: `vllm ${engine.version}` }
    this.#options = options
    this.#session = session
    this.#engine = engine
    this.#bytesPerToken = layers.length * contract.shape.hiddenSize * BYTES[contract.dtype]
  }

  /** @throws CONTRACT_MISMATCH when training would not rebuild the logits of vLLM from what it stores. */
  static async open(options: VllmSourceOptions): Promise<VllmSource> {
    const { config, python, part, auxLayers } = options
    const { target, data, draft } = config
    const opened = await python.call('vllm.open', { target, data, draft, auxLayers: [...auxLayers] })
    const session = new Owned(python, opened.handle)
    let engine: VllmProcess | null = null
    try {
      engine = await VllmProcess.start({
        python: target.vllm.python ?? 'python3',
        scratch: target.vllm.scratch,
        // Producers of several parts may share the run folder.
        log: path.join(config.run.dir, 'logs', part === null ? 'vllm.log' : `vllm-part-${part.index}.log`),
        ...{ model: target.model, dtype: target.dtype, layers: opened.layers, args: target.vllm.args },
        maxModelLen: Math.min(data.maxLength, opened.positions) + 1,
      })
      await prove(python, session, engine, opened.probe)
      return new VllmSource(options, session, engine, opened)
    } catch (error) {
      await engine?.[Symbol.asyncDispose]()
      await session[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]()
    await this.#session[Symbol.asyncDispose]()
  }

  async *items(isKnown: IsKnown): AsyncGenerator<SourceItem> {
    const { config, files, python, part, sha256 } = this.#options
    const reader = new EncodedConversations({ config, files, python, part, sha256, session: this.#session.handle })
    const underWay = itemsUnderWay(LIMITS)
    let next: EncodedSample | null = null
    try {
      for await (const item of reader.items(isKnown)) {
        if (item.kind !== 'encoded') {
          yield item
          continue
        }
        const sample: EncodedSample = item
        next = sample
        const weight = sample.about.numTokens * this.#bytesPerToken
        while (!underWay.canBegin(weight)) yield* nextOf(underWay)
        next = null
        underWay.begin(weight, () => this.#item(sample))
      }
      while (!underWay.isEmpty) yield* nextOf(underWay)
    } finally {
      if (next !== null) await freeAll(python, [next])
      // Nobody wants what is under way any more: ended, vLLM answers at once.
      if (!underWay.isEmpty) await this.#engine[Symbol.asyncDispose]()
      await underWay.abandon()
    }
  }

  /** The sample with its features. Owns `sample`. */
  async #item(sample: EncodedSample): Promise<SourceItem> {
    const { python } = this.#options
    try {
      const { ids } = await python.call('vllm.ids', { tokens: sample.tokens.handle })
      const { file } = await this.#engine.run(ids)
      const given = { session: this.#session.handle, tokens: sample.tokens.handle, file }
      const { set, bad } = await python.call('vllm.read', given).finally(() => rm(file, { force: true }))
      if (bad !== null) return { kind: 'refused', error: notFinite(sample.where, bad), isPart: sample.isPart }
      if (set === null) throw new Error('vllm.read returned no sample')
      return sampleOf(sample, new TensorSet(python, set))
    } catch (error) {
      if (!hasCode(error, 'FEATURE_INVALID')) throw error
      return { kind: 'refused', error: atOrigin(error, sample.where), isPart: sample.isPart }
    } finally {
      await freeAll(python, [sample])
    }
  }
}

/** Before hours are spent: a few tokens, and whether training will rebuild vLLM's logits from what vLLM stores. */
async function prove(python: Python, session: Owned, engine: VllmProcess, probe: readonly number[]): Promise<void> {
  const { file, logprobs } = await engine.run(probe, PROBE_LOGPROBS)
  try {
    if (logprobs === null) throw noLogprobs(engine.version)
    await python.call('vllm.probe', { session: session.handle, file, logprobs })
  } finally {
    await rm(file, { force: true })
  }
}

const noLogprobs = (version: string) =>
  finding('CONTRACT_MISMATCH', 'vLLM gives no logprobs, so nothing proves what it stores', {
    field: 'target.vllm.python',
    found: `vLLM ${version}`,
    fix: 'use another version of vLLM, or set target.engine to transformers',
  })
