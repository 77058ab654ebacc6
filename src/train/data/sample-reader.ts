import { CodedError, hasCode } from '../../core/errors.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import type { Claim, FeatureStore, GetOptions, Lease } from '../../store/feature-store.ts'
import type { MicroStep } from './batch-plan.ts'
import type { LostSamples } from './lost-samples.ts'

/** Refs by index. An array is one. */
export interface Refs {
  readonly length: number
  at(index: number): SampleRef | undefined
}

export type Hold = Lease | Claim
export type ConsumerStore = Pick<FeatureStore, 'retain' | 'get' | 'getMany' | 'claim' | 'claimMany' | 'quarantine'>

export interface Loss {
  readonly ref: SampleRef
  readonly error: CodedError
  readonly quarantined: boolean
}

export interface SampleReaderOptions {
  readonly store: ConsumerStore
  readonly refs: Refs
  /** Longer samples are cut here, and what lies behind the cut is not read. */
  readonly maxLength: number
  readonly lost: LostSamples
  /** Called for each sample that cannot be read. */
  readonly onLost: (loss: Loss) => void
}

export interface Taken {
  /** In the order of the plan, without those that are lost. */
  readonly holds: readonly Hold[]
  /** Samples that this read found to be lost. */
  readonly lost: readonly number[]
}

/**
 * Takes the samples of a micro-step out of the store with one read: leases from a store that retains, claims from one
 * whose samples are consumed once. A damaged sample goes to quarantine, and its place stays empty.
 */
export class SampleReader {
  readonly #options: SampleReaderOptions

  constructor(options: SampleReaderOptions) {
    this.#options = options
  }

  async read({ samples, cursor, epoch }: Pick<MicroStep, 'samples' | 'cursor' | 'epoch'>): Promise<Taken> {
    const { lost, maxLength } = this.#options
    const wanted = samples.filter((index) => !lost.leftOut(index, cursor)).map((index) => this.#ref(index))
    this.#requireFirstEpoch(wanted, epoch)
    const isCut = ({ ref }: Wanted) => ref.numTokens > maxLength
    const held = new Map<number, Hold>()
    try {
      const found = [
        ...(await this.#take(
          wanted.filter((each) => !isCut(each)),
          {},
          held,
        )),
        ...(await this.#take(wanted.filter(isCut), { rows: { start: 0, end: maxLength } }, held)),
      ]
      return { holds: samples.flatMap((index) => held.get(index) ?? []), lost: found }
    } catch (error) {
      await releaseAll([...held.values()]).catch(() => undefined)
      throw error
    }
  }

  /** Fills `held` and returns the samples that are lost. */
  async #take(wanted: readonly Wanted[], options: GetOptions, held: Map<number, Hold>): Promise<readonly number[]> {
    if (wanted.length === 0) return []
    const holds = await this.#takeAll(wanted, options)
    if (holds !== null) {
      for (const [at, { index }] of wanted.entries()) {
        const hold = holds[at]
        if (hold !== undefined) held.set(index, hold)
      }
      return []
    }
    const lost: number[] = []
    for (const { index, ref } of wanted) {
      try {
        held.set(index, await this.#takeOne(ref, options))
      } catch (error) {
        await this.#lose(index, ref, error)
        lost.push(index)
      }
    }
    return lost
  }

  /** Takes all with one read. Null when that fails: then each sample must be taken alone. */
  async #takeAll(wanted: readonly Wanted[], options: GetOptions): Promise<readonly Hold[] | null> {
    const { store } = this.#options
    const refs = wanted.map(({ ref }) => ref)
    try {
      if (store.retain) return await store.getMany(refs, options)
      const { claims } = await store.claimMany(refs, options)
      if (claims.length === refs.length) return claims
      await releaseAll(claims)
      return null
    } catch (error) {
      if (error instanceof CodedError) return null
      throw error
    }
  }

  #takeOne(ref: SampleRef, options: GetOptions): Promise<Hold> {
    const { store } = this.#options
    return store.retain ? store.get(ref, options) : store.claim(ref, options)
  }

  async #lose(index: number, ref: SampleRef, error: unknown): Promise<void> {
    const { store, lost, onLost } = this.#options
    if (!hasCode(error, 'SAMPLE_CORRUPT', 'SAMPLE_NOT_FOUND', 'SAMPLE_STALE')) throw naming([ref], error)
    const quarantined =
      error.code === 'SAMPLE_CORRUPT' &&
      (await store.quarantine(ref, error.message).then(
        () => true,
        () => false,
      ))
    onLost({ ref, error, quarantined })
    lost.found(index, quarantined ? inQuarantine(naming([ref], error)) : naming([ref], error))
  }

  #ref(index: number): Wanted {
    const ref = this.#options.refs.at(index)
    if (ref === undefined) throw new Error(`the plan asks for sample ${index} of ${this.#options.refs.length}`)
    return { index, ref }
  }

  // Checked before the read: until the next checkpoint the store would say that this run claims these samples already.
  #requireFirstEpoch(wanted: readonly Wanted[], epoch: number): void {
    const [first] = wanted
    if (this.#options.store.retain || epoch === 0 || first === undefined) return
    const { sampleId, generation } = first.ref
    const what = `epoch ${epoch + 1} has nothing to read: this run has consumed its samples in epoch 1`
    const fix = 'set store.retain to true and produce the features again, or set train.epochs to 1'
    const message = `${what}\n  sample: ${sampleId}@${generation}\n  fix:   ${fix}`
    throw new CodedError('SAMPLE_NOT_FOUND', message, { sampleId, generation })
  }
}

interface Wanted {
  readonly index: number
  readonly ref: SampleRef
}

/** Gives all back, also when giving one back fails. */
export async function releaseAll(holds: readonly AsyncDisposable[]): Promise<void> {
  const released = await Promise.allSettled(holds.map((hold) => hold[Symbol.asyncDispose]()))
  const failed = released.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}

/** The same error, with the samples that it concerns in its text. */
export function naming<E>(refs: readonly SampleRef[], error: E): E | CodedError {
  if (!(error instanceof CodedError)) return error
  const unnamed = refs.filter(({ sampleId }) => !error.message.includes(sampleId))
  if (unnamed.length < refs.length) return error
  const samples = unnamed.map(({ sampleId, generation }) => `${sampleId}@${generation}`).join(', ')
  return new CodedError(error.code, `${error.message}\n  sample: ${samples}`, error.details, { cause: error })
}

function inQuarantine({ code, message, details }: CodedError, cause?: unknown): CodedError {
  const where = 'the object now lies in quarantine/ of the store, with this reason beside it'
  return new CodedError(code, `${message}\n  quarantine: ${where}`, details, { cause })
}
