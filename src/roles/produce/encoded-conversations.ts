import type { EncodedConversation } from '../../bridge/capture-ops.ts'
import { objectError } from '../../bridge/envelope.ts'
import type { Python } from '../../bridge/python.ts'
import { Owned, TensorSet } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { type CodedError, hasCode } from '../../core/errors.ts'
import { SampleId } from '../../core/ids.ts'
import type { Part } from '../../core/part.ts'
import { type NamedConversation, readSurveyed } from '../conversations/read-conversations.ts'
import { atOrigin, type IsKnown, type SourceItem } from './feature-source.ts'

/** The tokens and the mask of a sample, before the target has run on it. Its receiver owns `tokens`. */
export interface EncodedSample {
  readonly kind: 'encoded'
  readonly sampleId: SampleId
  readonly where: string
  /** A further sample of a conversation that gave one already. */
  readonly isPart: boolean
  /** Where its conversation stands among all inputs. */
  readonly order: number
  readonly tokens: TensorSet
  readonly about: EncodedConversation['samples'][number]
}

/** How many conversations are encoded in one call: enough for a tokenizer to use all cores. */
const GROUP = 32

type Refused = Extract<SourceItem, { kind: 'refused' }>

type Group = ReadonlyArray<NamedConversation | Refused>

/** What became of a group. */
type Encoding = readonly (EncodedSample | Refused)[] | Error

/** Reads conversations and encodes them. */
export class EncodedConversations {
  readonly #config: RunConfig
  readonly #files: readonly string[]
  readonly #python: Python
  readonly #part: Part | null
  readonly #sha256: string
  readonly #session: number

  /** `session`: from `capture.open`. */
  constructor(given: {
    readonly config: RunConfig
    readonly files: readonly string[]
    readonly python: Python
    readonly part: Part | null
    /** What the survey found. */
    readonly sha256: string
    readonly session: number
  }) {
    this.#sha256 = given.sha256
    this.#part = given.part
    this.#config = given.config
    this.#files = given.files
    this.#python = given.python
    this.#session = given.session
  }

  /** The samples that the target must run on, and what becomes of all other inputs. */
  async *items(isKnown: IsKnown): AsyncGenerator<EncodedSample | SourceItem> {
    const { run, data } = this.#config
    const reading = { runId: run.id, limit: data.limit, part: this.#part }
    // Encoded in groups, because each call has its price; and one group ahead of the one that is asked for.
    let ahead: Promise<Encoding> | null = null
    try {
      for await (const group of groupsOf(readSurveyed(this.#files, reading, this.#sha256))) {
        const before: Promise<Encoding> | null = ahead
        ahead = settled(this.#encode(group))
        if (before !== null) yield* this.#finished(await before, isKnown)
      }
      const last = ahead
      ahead = null
      if (last !== null) yield* this.#finished(await last, isKnown)
    } finally {
      const unread = await ahead
      if (unread !== null && !(unread instanceof Error)) await freeAll(this.#python, unread.filter(isSample))
    }
  }

  async *#finished(encoding: Encoding, isKnown: IsKnown): AsyncGenerator<EncodedSample | SourceItem> {
    if (encoding instanceof Error) throw encoding
    const waiting = [...encoding]
    try {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        yield isSample(next) ? ((await this.#withoutTarget(next, isKnown)) ?? next) : next
      }
    } finally {
      await freeAll(this.#python, waiting.filter(isSample))
    }
  }

  async #encode(group: Group): Promise<Array<EncodedSample | Refused>> {
    const conversations = group.flatMap((item) => (item.kind === 'conversation' ? [item.json] : []))
    const call = { session: this.#session, conversations, maxLength: this.#config.data.maxLength }
    const results = conversations.length === 0 ? [] : (await this.#python.call('capture.encode', call)).results
    return group.flatMap((item): Array<EncodedSample | Refused> => {
      if (item.kind === 'refused') return [item]
      const result = results.shift()
      if (result === undefined) throw new Error(`capture.encode returned too few results for ${conversations.length}`)
      return 'error' in result ? [refusedBy(objectError(result), item.where)] : this.#samplesOf(item, result)
    })
  }

  #samplesOf({ sampleId, where, order }: NamedConversation, { samples }: EncodedConversation): EncodedSample[] {
    return samples.map((about, index) => ({
      kind: 'encoded',
      sampleId: about.turn === null ? sampleId : SampleId.parse(`${sampleId}:turn-${about.turn}`),
      where,
      isPart: index > 0,
      order,
      tokens: new TensorSet(this.#python, about.set),
      about,
    }))
  }

  /** What becomes of a sample without the target, freed then; null when the target must run on it. */
  async #withoutTarget(sample: EncodedSample, isKnown: IsKnown): Promise<SourceItem | null> {
    const { sampleId, where, tokens, about, isPart, order } = sample
    try {
      if (about.lossTokens > 0 && !(await isKnown(sampleId, { order, tokens }))) return null
    } catch (error) {
      await freeAll(this.#python, [sample])
      throw error
    }
    await freeAll(this.#python, [sample])
    if (about.lossTokens > 0) return { kind: 'known', isPart }
    return { kind: 'empty', truncated: about.truncated, where, isPart }
  }
}

async function* groupsOf(items: AsyncIterable<NamedConversation | Refused>): AsyncGenerator<Group> {
  let group: Array<NamedConversation | Refused> = []
  for await (const item of items) {
    group.push(item)
    if (group.length < GROUP) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}

const isSample = (item: EncodedSample | Refused): item is EncodedSample => item.kind === 'encoded'

/** The error as a value: nobody may wait for the promise at the moment when it fails. */
const settled = (encoding: Promise<readonly (EncodedSample | Refused)[]>): Promise<Encoding> =>
  encoding.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))))

function refusedBy(error: CodedError, where: string): Refused {
  if (!hasCode(error, 'FEATURE_INVALID')) throw error
  return { kind: 'refused', error: atOrigin(error, where) }
}

export const freeAll = (python: Python, samples: Iterable<EncodedSample>): Promise<void> =>
  Owned.disposeAll(
    python,
    [...samples].map(({ tokens }) => tokens),
  )
