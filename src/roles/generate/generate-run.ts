import { objectError } from '../../bridge/envelope.ts'
import type { Answer } from '../../bridge/generate-ops.ts'
import type { OpOutput } from '../../bridge/ops.ts'
import type { Python } from '../../bridge/python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { type CodedError, hasCode } from '../../core/errors.ts'
import { throwIfStopped } from '../../core/interruption.ts'
import type { RoleContext } from '../context.ts'
import { atOrigin } from '../produce/feature-source.ts'
import { Refusals } from '../produce/refusals.ts'
import { isLoop, type LeftOut } from './answer-filter.ts'
import type { GenerateInput } from './generate-input.ts'
import type { GeneratedFile } from './generated-file.ts'
import { type CountedPlaces, LeftOutCounts } from './left-out-counts.ts'
import { seedOf } from './seed-of.ts'
import { type OpenConversation, TurnPool } from './turn-pool.ts'

/** How many batches of conversations wait, so that those of one length are written together. */
const POOL_BATCHES = 8
const PROGRESS_MS = 1000
const USER_TURN = -1

export interface GenerateReport {
  readonly out: string
  readonly written: number
  /** By an earlier start. */
  readonly resumed: number
  readonly answers: number
  readonly tokens: number
  readonly tokensPerSecond: number
  /** Conversations whose answers are not good enough, and inputs that are bad; the first places of each. */
  readonly leftOut: readonly CountedPlaces[]
  readonly refused: readonly CountedPlaces[]
}

interface Given {
  readonly config: RunConfig
  readonly python: Python
  /** From `generate.open`. */
  readonly session: number
  readonly device: 'cpu' | 'cuda'
  readonly file: GeneratedFile
  readonly out: string
  readonly context: RoleContext
  /** Inputs. */
  readonly total: number
}

/** Lets the target write conversations in batches, filters them, and writes those that are good. */
export class GenerateRun {
  readonly #given: Given
  readonly #batch: number
  readonly #pool: TurnPool
  readonly #refusals = new Refusals()
  readonly #leftOut = new LeftOutCounts()
  #prompts: string[] = []
  #inputs = 0
  #written = 0
  #resumed = 0
  #answers = 0
  #tokens = 0
  #reported = Number.NEGATIVE_INFINITY

  constructor(given: Given) {
    this.#given = given
    const { batch } = given.config.generate
    this.#batch = batch === 'auto' ? (given.device === 'cpu' ? 4 : 64) : batch
    this.#pool = new TurnPool(this.#batch, POOL_BATCHES)
  }

  async add(input: GenerateInput): Promise<void> {
    this.#inputs += 1
    if (input.kind === 'refused') return this.#refuse(input.error)
    const { id, where, json } = input
    const { file } = this.#given
    if (file.written.has(id)) this.#resumed += 1
    else if (file.leftOut.has(id)) this.#leftOut.add(file.leftOut.get(id) ?? 'round-trip', where)
    else if (json === '') await this.#addMadeUp(id)
    else this.#pool.add({ id, where, json, answers: [], tokens: 0 })
    while (this.#pool.isFull) await this.#writeBatch()
  }

  /** Writes what still waits. @throws FEATURE_INVALID when too many inputs were bad, or nothing could be written. */
  async finish(seconds: () => number): Promise<GenerateReport> {
    await this.#writePrompts()
    while (!this.#pool.isEmpty) await this.#writeBatch()
    const { out, context, config, total } = this.#given
    this.#refusals.expectFew(total, config.data.maxBadShare)
    if (this.#written + this.#resumed === 0 && this.#refusals.first !== null) throw this.#refusals.first
    const took = seconds()
    const refused = this.#refusals.kinds.map(({ why, samples, places }) => ({ why, count: samples, places }))
    const report = {
      out,
      written: this.#written + this.#resumed,
      resumed: this.#resumed,
      answers: this.#answers,
      tokens: this.#tokens,
      tokensPerSecond: took > 0 ? this.#tokens / took : 0,
      leftOut: this.#leftOut.kinds,
      refused,
    }
    context.events.emit({ event: 'generate.finished', seconds: took, ...report })
    return report
  }

  async #addMadeUp(id: string): Promise<void> {
    this.#prompts.push(id)
    if (this.#prompts.length >= this.#batch) await this.#writePrompts()
  }

  async #writePrompts(): Promise<void> {
    const ids = this.#prompts
    this.#prompts = []
    if (ids.length === 0) return
    const seeds = ids.map((id) => seedOf(this.#seed, id, USER_TURN))
    const { python, session } = this.#given
    const { results } = await python.call('generate.prompts', { session, seeds, ...this.#sampling })
    for (const [index, id] of ids.entries()) {
      const result = results[index]
      if (result === undefined) throw new Error(`generate.prompts gave ${results.length} results for ${ids.length}`)
      this.#tokens += result.tokens
      const why = flawOf(result)
      if (why !== null) await this.#leaveOut({ id, where: id }, why, result.text)
      else this.#pool.add({ id, where: id, json: userSays(result.text), answers: [], tokens: result.tokens })
    }
    await this.#progress()
  }

  async #writeBatch(): Promise<void> {
    throwIfStopped(this.#given.context.signal, 'generate stopped between two batches; run the same command to go on')
    const batch = this.#pool.take()
    const { python, session } = this.#given
    const turns = batch.map(({ id, json, answers }) => {
      return { conversation: json, answers: [...answers], seed: seedOf(this.#seed, id, answers.length) }
    })
    const { results } = await python.call('generate.answers', { session, turns, ...this.#sampling })
    const done: OpenConversation[] = []
    for (const [index, conversation] of batch.entries()) {
      const result = results[index]
      if (result === undefined) throw new Error(`generate.answers gave ${results.length} results for ${batch.length}`)
      if ('error' in result) this.#refuse(at(conversation.where, objectError(result)))
      else await this.#take(conversation, result, done)
    }
    await this.#complete(done)
    await this.#progress()
  }

  /** What becomes of an answer; `done` gets the conversation when it was the last one. */
  async #take(conversation: OpenConversation, answer: Answer, done: OpenConversation[]): Promise<void> {
    this.#answers += 1
    this.#tokens += answer.tokens
    const why = flawOf(answer) ?? (answer.message === null ? 'round-trip' : null)
    if (why !== null || answer.message === null) return this.#leaveOut(conversation, why ?? 'round-trip', answer.text)
    const answers = [...conversation.answers, answer.message]
    const next = { ...conversation, answers, tokens: conversation.tokens + answer.tokens }
    if (answer.left === 0) done.push(next)
    else this.#pool.add(next)
  }

  async #complete(done: readonly OpenConversation[]): Promise<void> {
    if (done.length === 0) return
    const { python, session, file } = this.#given
    const conversations = done.map(({ json, answers }) => ({ conversation: json, answers: [...answers] }))
    const { results } = await python.call('generate.finish', { session, conversations })
    for (const [index, one] of done.entries()) {
      const result = results[index]
      if (result === undefined) throw new Error(`generate.finish gave ${results.length} results for ${done.length}`)
      await this.#keep(one, result)
    }
    await file.flush()
  }

  async #keep(one: OpenConversation, result: OpOutput<'generate.finish'>['results'][number]): Promise<void> {
    // A capture would refuse it: its mask cannot be proved.
    if ('error' in result) return this.#leaveOut(one, 'round-trip', objectError(result).message)
    if (result.trained === 0) return this.#leaveOut(one, 'round-trip', '')
    const generated = { seed: this.#seed, tokens: one.tokens }
    if (await this.#given.file.write(one.id, result.conversation, generated)) this.#written += 1
    else await this.#leaveOut(one, 'duplicate', '')
  }

  async #leaveOut({ id, where }: { id: string; where: string }, why: LeftOut, text: string): Promise<void> {
    this.#leftOut.add(why, where)
    await this.#given.file.leaveOut(id, why, where, text)
  }

  #refuse(error: CodedError): void {
    if (!hasCode(error, 'FEATURE_INVALID')) throw error
    const { onBad } = this.#given.config.data
    if (onBad === 'stop') throw error
    this.#refusals.add(error)
  }

  async #progress(): Promise<void> {
    const now = performance.now()
    if (now - this.#reported < PROGRESS_MS) return
    this.#reported = now
    const [written, leftOut] = [this.#written + this.#resumed, this.#leftOut.total]
    const [refused, tokens] = [this.#refusals.samples, this.#tokens]
    const { context, total } = this.#given
    context.events.emit({ event: 'generate.progress', total, written, leftOut, refused, tokens })
  }

  get #seed(): number {
    return this.#given.config.generate.seed ?? this.#given.config.run.seed
  }

  get #sampling() {
    const { maxNewTokens, temperature, topP } = this.#given.config.generate
    return { maxNewTokens, temperature, topP }
  }
}

function flawOf({ text, ended }: { readonly text: string; readonly ended: boolean }): LeftOut | null {
  if (text === '') return 'empty'
  if (isLoop(text)) return 'loop'
  return ended ? null : 'cut'
}

const userSays = (text: string): string => JSON.stringify({ messages: [{ role: 'user', content: text }] })

/** Python does not know the place of a conversation in the user's files. */
const at = (where: string, error: CodedError): CodedError =>
  hasCode(error, 'FEATURE_INVALID') ? atOrigin(error, where) : error
