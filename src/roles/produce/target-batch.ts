import type { OpOutput } from '../../bridge/ops.ts'
import type { Python } from '../../bridge/python.ts'
import { Owned, TensorSet } from '../../bridge/tensor-set.ts'
import { finding } from '../../core/errors.ts'
import { type EncodedSample, freeAll } from './encoded-conversations.ts'
import type { SourceItem, SourceSample } from './feature-source.ts'

type Outcome = OpOutput<'capture.collect'>['samples'][number]

/**
 * Samples that the target runs on in one forward pass. It owns them and what is computed. `begin` returns as soon as a
 * GPU has its work; `samples` waits for the result.
 */
export class TargetBatch implements AsyncDisposable {
  readonly #python: Python
  readonly #samples: readonly EncodedSample[]
  readonly #pass: Owned

  private constructor(python: Python, samples: readonly EncodedSample[], pass: Owned) {
    this.#python = python
    this.#samples = samples
    this.#pass = pass
  }

  static async begin(python: Python, session: number, samples: readonly EncodedSample[]): Promise<TargetBatch> {
    try {
      const given = { session, samples: samples.map(({ tokens }) => tokens.handle) }
      const { handle } = await python.call('capture.forward', given)
      return new TargetBatch(python, samples, new Owned(python, handle))
    } catch (error) {
      await freeAll(python, samples)
      throw error
    }
  }

  /** The samples with their features. One for which the target gives no numbers is refused; the others go on. */
  async *samples(): AsyncGenerator<SourceItem> {
    const sets: TensorSet[] = []
    try {
      const { samples } = await this.#python.call('capture.collect', { pass: this.#pass.handle })
      for (const { set } of samples) if (set !== null) sets.push(new TensorSet(this.#python, set))
      for (const [at, outcome] of samples.entries()) yield this.#item(at, outcome, sets)
    } finally {
      for (const owned of sets) await owned[Symbol.asyncDispose]()
      await this[Symbol.asyncDispose]()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pass[Symbol.asyncDispose]()
    await freeAll(this.#python, this.#samples)
  }

  #item(at: number, { bad }: Outcome, sets: TensorSet[]): SourceItem {
    const sample = this.#samples[at]
    if (sample === undefined) throw new Error(`capture.collect returned ${at + 1} samples of ${this.#samples.length}`)
    if (bad !== null) return { kind: 'refused', error: notFinite(sample.where, bad), isPart: sample.isPart }
    const tensors = sets.shift()
    if (tensors === undefined) throw new Error('capture.collect returned too few sets')
    return sampleOf(sample, tensors)
  }
}

export function sampleOf({ sampleId, where, isPart, order, about }: EncodedSample, tensors: TensorSet): SourceSample {
  const { numTokens, lossTokens, truncated } = about
  const facts = { trainedTokens: lossTokens, truncated, order }
  const provenance = { from: where.slice(-1000) }
  return { kind: 'sample', sampleId, isPart, origin: where, tensors, numTokens, facts, provenance }
}

export const notFinite = (file: string, { field, found }: NonNullable<Outcome['bad']>) =>
  finding('FEATURE_INVALID', 'the target gives values that are no numbers', {
    file,
    field,
    state: field,
    found,
    fix: 'try target.dtype bfloat16 or float32: float16 overflows in some models; or remove this conversation',
  })
