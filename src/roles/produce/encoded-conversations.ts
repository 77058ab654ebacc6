import type { OpOutput } from '../../bridge/ops.ts'
import type { Python } from '../../bridge/python.ts'
import { TensorSet } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { type CodedError, hasCode } from '../../core/errors.ts'
import { SampleId } from '../../core/ids.ts'
import { type NamedConversation, readConversations } from '../conversations/read-conversations.ts'
import { type IsKnown, type SourceItem, withOrigin } from './feature-source.ts'

/** The tokens and the mask of a sample, before the target has run on it. Its receiver owns `tokens`. */
export interface EncodedSample {
  readonly kind: 'encoded'
  readonly sampleId: SampleId
  readonly where: string
  /** A further sample of a conversation that gave one already. */
  readonly isPart: boolean
  readonly tokens: TensorSet
  readonly about: OpOutput<'capture.encode'>['samples'][number]
}

type Refused = Extract<SourceItem, { kind: 'refused' }>

/** Reads conversations and encodes them. */
export class EncodedConversations {
  readonly #config: RunConfig
  readonly #files: readonly string[]
  readonly #python: Python
  readonly #session: number

  /** `session`: from `capture.open`. */
  constructor(given: {
    readonly config: RunConfig
    readonly files: readonly string[]
    readonly python: Python
    readonly session: number
  }) {
    this.#config = given.config
    this.#files = given.files
    this.#python = given.python
    this.#session = given.session
  }

  /** The samples that the target must run on, and what becomes of all other inputs. */
  async *items(isKnown: IsKnown): AsyncGenerator<EncodedSample | SourceItem> {
    const { run, data } = this.#config
    for await (const item of readConversations(this.#files, run.id, data.limit)) {
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

  async #encode({ sampleId, where, json }: NamedConversation): Promise<readonly EncodedSample[] | Refused> {
    const call = { session: this.#session, conversation: json, maxLength: this.#config.data.maxLength }
    try {
      const { samples } = await withOrigin(where, () => this.#python.call('capture.encode', call))
      return samples.map((about, index) => ({
        kind: 'encoded',
        sampleId: about.turn === null ? sampleId : SampleId.parse(`${sampleId}:turn-${about.turn}`),
        where,
        isPart: index > 0,
        tokens: new TensorSet(this.#python, about.set),
        about,
      }))
    } catch (error) {
      if (!hasCode(error, 'FEATURE_INVALID')) throw error
      return { kind: 'refused', error: error as CodedError<'FEATURE_INVALID'> }
    }
  }
}

/** What becomes of a sample without the target, freed then; null when the target must run on it. */
async function finished(sample: EncodedSample, isKnown: IsKnown): Promise<SourceItem | null> {
  const { sampleId, tokens, about, isPart } = sample
  try {
    if (about.lossTokens > 0 && !(await isKnown(sampleId, tokens))) return null
  } catch (error) {
    await freeAll([sample])
    throw error
  }
  await freeAll([sample])
  return about.lossTokens === 0 ? { kind: 'empty', truncated: about.truncated, isPart } : { kind: 'known', isPart }
}

export async function freeAll(samples: Iterable<EncodedSample>): Promise<void> {
  for (const { tokens } of samples) await tokens[Symbol.asyncDispose]()
}
