import type { Python } from '../../bridge/python.ts'
import { Owned, type TensorSet } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { InOrder } from '../../core/concurrency/in-order.ts'
import { CodedError, type ErrorCode, finding, hasCode } from '../../core/errors.ts'
import type { SampleId } from '../../core/ids.ts'
import { throwIfStopped } from '../../core/interruption.ts'
import type { Monotonic } from '../../core/liveness/monotonic.ts'
import type { Part } from '../../core/part.ts'
import type { ProducedHealth } from '../../core/produced-health.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { architectureOf } from '../../drafts/registry.ts'
import type { ManifestWriter } from '../../refs/manifest.ts'
import type { LinkMode } from '../../store/blobs/blobs.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import type { RoleContext } from '../context.ts'
import { withLayer } from './bad-layer.ts'
import {
  type FeatureSource,
  type Foreknown,
  type SourceItem,
  type SourcePlan,
  type SourceSample,
  withOrigin,
} from './feature-source.ts'
import { HealthCounts } from './health-counts.ts'
import { addSample, type Totals } from './producer-totals.ts'
import { Refusals } from './refusals.ts'

const FLUSH_SAMPLES = 512
const FLUSH_MS = 2000
// Each flush rewrites the root, which lists all segments. So the interval grows with the number of segments.
const FLUSH_MS_PER_SEGMENT = 20
const PROGRESS_MS = 1000

/** Limits of concurrent puts; the weight is in bytes. One put can wait for the disk while another one copies. */
const PUT_LIMITS = { tasks: 16, weight: 192 * 2 ** 20 }

type Refused = CodedError<'FEATURE_INVALID'>
/** A stored sample; or why it was refused while it was written: the bytes of a mapped file are looked at only then. */
type Put = SampleRef | Refused

function refusedOnly(error: unknown): Refused {
  if (hasCode(error, 'FEATURE_INVALID')) return error
  throw error
}

interface RunOptions {
  readonly config: RunConfig
  readonly python: Python
  readonly store: FeatureStore
  readonly context: RoleContext
  readonly plan: SourcePlan
  /** Null or absent: all inputs. */
  readonly part?: Part | null
  readonly source: FeatureSource
  readonly writer: ManifestWriter
  /** The root of the manifest, links resolved: whose the samples are. */
  readonly manifest: string
  readonly time: Monotonic
  /** When the role started, by `time`. */
  readonly started: number
}

/** Puts every sample of a source into the store and its ref into the manifest, and counts them. */
export class ProducerRun {
  readonly #given: RunOptions
  readonly #totals: Record<keyof Totals, number>
  /** By reason: samples that were copied, although `features.link` allows a link. */
  readonly #copies = new Map<string, number>()
  readonly #refusals = new Refusals()
  readonly #health = new HealthCounts()
  /** Samples that an earlier run published and that this one has not come to yet. */
  readonly #left: Set<SampleId>
  #pending = 0
  #flushed: number
  #reported = Number.NEGATIVE_INFINITY

  constructor(given: RunOptions) {
    this.#given = given
    this.#flushed = given.time.now()
    this.#left = new Set(given.writer.published.keys())
    const counts = { inputs: 0, samples: 0, skipped: 0, refused: 0, repeats: 0, cut: 0, resumed: 0, linked: 0 }
    this.#totals = { ...counts, tokens: 0, lossTokens: 0, bytes: 0 }
  }

  /** Completes the manifest. After an error the manifest stays open and lists all samples that were put before. */
  async publish(): Promise<void> {
    const { python, writer, source, plan, part = null } = this.#given
    try {
      const { vocabSize } = source.contract.shape
      await using counter = new Owned(python, (await python.call('counts.open', { vocabSize })).handle)
      await this.#publishItems(counter)
      // A part may have no input at all, or none with an answer.
      if (this.#totals.samples === 0 && part === null) throw this.#refusals.first ?? noLossTokens(plan.total)
      // The inputs that these came from are gone or are other ones now.
      for (const sampleId of this.#left) writer.withdraw(sampleId)
      const { pairs } = await python.call('counts.read', { counter: counter.handle })
      await writer.complete(pairs, this.#healthNow(true))
    } catch (error) {
      // The samples put so far are good, so publish them. If that fails too, the first error is the one to report.
      await writer.flush(this.#healthNow(false)).catch(() => undefined)
      this.#reportRefused()
      throw error
    }
    this.#finish()
  }

  async #publishItems(counter: Owned): Promise<void> {
    const { source, context, store } = this.#given
    // A sample that is put but not published only takes up space, so it is aborted.
    const abort = async (put: Put) => (put instanceof CodedError ? undefined : store.abort(put.sampleId))
    const puts = new InOrder<Put>(PUT_LIMITS, abort)
    await using _puts = { [Symbol.asyncDispose]: () => this.#publishAll(puts) }
    for await (const item of source.items((sampleId, about) => this.#countKnown(sampleId, counter, about))) {
      this.#countInput(item)
      if (item.kind === 'sample') await this.#begin(puts, item, counter)
      await this.#flushAndReport()
      throwIfStopped(context.signal, 'the producer stopped between two samples; run the same command to resume')
    }
  }

  #countInput(item: SourceItem): void {
    this.#totals.inputs += Number(item.isPart !== true)
    if (item.kind === 'empty') {
      this.#totals.skipped += 1
      this.#health.addEmpty(item)
    }
    if (item.kind === 'refused') this.#refuse(item.error, item.isPart)
  }

  #refuse(given: Refused, isPart = false): void {
    const { plan, config, source } = this.#given
    const error = withLayer(given, architectureOf(config.draft.architecture), source.contract)
    this.#refusals.add(error, isPart)
    this.#totals.refused = this.#refusals.samples
    if (config.data.onBad === 'stop') throw error
    this.#refusals.expectFew(plan.total, config.data.maxBadShare)
  }

  async #begin(puts: InOrder<Put>, sample: SourceSample, counter: Owned): Promise<void> {
    const { tensors, origin } = sample
    try {
      // Before the put: `counts.add` also checks the token ids, and a bad sample must not reach the store.
      await withOrigin(origin, () => this.#count(sample.sampleId, tensors, counter))
      while (!puts.canBegin(tensors.bytes)) await this.#publishNext(puts)
    } catch (error) {
      await tensors[Symbol.asyncDispose]()
      if (!hasCode(error, 'FEATURE_INVALID')) throw error
      this.#refuse(error)
      return
    }
    puts.begin(tensors.bytes, () => this.#put(sample).catch(refusedOnly))
  }

  async #put(sample: SourceSample): Promise<SampleRef> {
    const { config, store, manifest } = this.#given
    const { sampleId, numTokens, facts, provenance } = sample
    await using tensors = sample.tensors
    if (sample.copied !== undefined) this.#countLink('copy', sample.copied)
    const onKept = (how: LinkMode | 'copy', why?: string) => this.#countLink(how, why)
    const extern = sample.extern === undefined ? {} : { extern: { ...sample.extern, onKept } }
    const owner = { manifest, replace: config.features.replace }
    const about = { runId: config.run.id, numTokens, ...facts, provenance, ...owner, ...extern }
    return await withOrigin(sample.origin, () => store.put(sampleId, tensors, about))
  }

  // Publishes the samples before the first failed put, in order; then throws the error of that put.
  async #publishAll(puts: InOrder<Put>): Promise<void> {
    try {
      while (!puts.isEmpty) await this.#publishNext(puts)
    } finally {
      await puts.abandon()
    }
  }

  async #publishNext(puts: InOrder<Put>): Promise<void> {
    const put = await puts.next()
    if (put === undefined) return
    if (put.value instanceof CodedError) {
      this.#refuse(put.value)
      return
    }
    this.#given.writer.append(put.value)
    this.#pending += 1
    this.#add(put.value)
  }

  /** True if the sample is published, its object is still stored, and it has `tokens`. Then its tokens are counted. */
  async #countKnown(sampleId: SampleId, counter: Owned, { order, tokens }: Foreknown): Promise<boolean> {
    const { writer, plan } = this.#given
    this.#left.delete(sampleId)
    const ref = writer.published.get(sampleId)
    if (ref === undefined) return false
    if (!plan.isCurrent(ref) || !(await this.#counted(ref, counter, tokens))) {
      writer.withdraw(sampleId)
      return false
    }
    if (ref.order !== order) this.#publishAgain({ ...ref, order })
    this.#totals.resumed += 1
    this.#add(ref)
    return true
  }

  /** Inputs were added or taken out before this one; or the ref is of a version that did not say where it stands. */
  #publishAgain(ref: SampleRef): void {
    this.#given.writer.withdraw(ref.sampleId)
    this.#given.writer.append(ref)
  }

  async #count(sampleId: SampleId, tensors: TensorSet, counter: Owned): Promise<void> {
    const { content } = await this.#given.python.call('counts.add', { counter: counter.handle, set: tensors.handle })
    this.#health.expect(sampleId, content)
  }

  /** Counts the tokens of a published sample. False if it is not stored any more, or has other tokens. */
  async #counted(ref: SampleRef, counter: Owned, tokens?: TensorSet): Promise<boolean> {
    const { python, store } = this.#given
    const digestsOf = async ({ handle }: TensorSet) => (await python.call('tensor.digest', { handle })).digests
    const isIn = (own: SampleRef['digests'], others: SampleRef['digests']) =>
      Object.entries(own).every(([name, digest]) => others[name] === digest)
    // In a sealed store the digests of a ref are masked.
    if (tokens !== undefined && store.key?.mode !== 'seal') {
      // They tell as much as the stored tokens would, and nothing is read.
      if (!isIn(await digestsOf(tokens), ref.digests) || (await store.missing([ref])).length > 0) return false
      await this.#count(ref.sampleId, tokens, counter)
      return true
    }
    try {
      await using lease = await store.get(ref, { names: ['input_ids', 'loss_mask'] })
      if (tokens !== undefined && !isIn(await digestsOf(tokens), await digestsOf(lease.tensors))) return false
      await this.#count(ref.sampleId, lease.tensors, counter)
      return true
    } catch (error) {
      if (!hasCode(error, 'SAMPLE_NOT_FOUND', 'SAMPLE_STALE', 'SAMPLE_CORRUPT')) throw error
      return false
    }
  }

  #countLink(how: LinkMode | 'copy', why = 'no link possible'): void {
    if (how !== 'copy') this.#totals.linked += 1
    else this.#copies.set(why, (this.#copies.get(why) ?? 0) + 1)
  }

  #add(ref: SampleRef): void {
    this.#totals.samples += 1
    addSample(this.#totals, ref)
    this.#totals.repeats += Number(this.#health.addPublished(ref))
  }

  #healthNow(whole: boolean): ProducedHealth {
    const { plan, store } = this.#given
    const isSealed = store.key?.mode === 'seal'
    return this.#health.health(this.#refusals, { inputs: this.#totals.inputs, total: plan.total, whole, isSealed })
  }

  /**
   * Flushes the manifest and emits progress when they are due. The flush is also the heartbeat, so it must run in this
   * loop and not on a timer: a producer that hangs must lose its heartbeat.
   */
  async #flushAndReport(): Promise<void> {
    const { writer, context, plan, time } = this.#given
    const now = time.now()
    const due = FLUSH_MS + FLUSH_MS_PER_SEGMENT * writer.segments
    if (this.#pending >= FLUSH_SAMPLES || now - this.#flushed >= due) {
      await writer.flush()
      this.#pending = 0
      this.#flushed = now
    }
    if (now - this.#reported < PROGRESS_MS) return
    this.#reported = now
    context.events.emit({ event: 'produce.progress', total: plan.total, ...this.#totals })
  }

  #reportRefused(): void {
    for (const kind of this.#refusals.kinds) this.#given.context.events.emit({ event: 'produce.refused', ...kind })
  }

  #finish(): void {
    const { config, context, started, plan, time } = this.#given
    const seconds = (time.now() - started) / 1000
    context.events.emit({ event: 'produce.progress', total: plan.total, ...this.#totals })
    this.#reportRefused()
    for (const [why, samples] of this.#copies) context.events.emit({ event: 'produce.copied', samples, why })
    context.events.emit({ event: 'produce.finished', manifest: config.manifest, seconds, ...this.#totals })
  }
}

/** The error code to record in the manifest. An error without a code is a bug. */
export const codeOf = (error: unknown): ErrorCode => (error instanceof CodedError ? error.code : 'PYTHON_RAISED')

const noLossTokens = (total: number): CodedError =>
  finding('FEATURE_INVALID', 'no sample has a loss token', {
    field: 'loss_mask',
    found: `${total} samples, and every loss_mask is empty`,
    fix: 'raise data.maxLength if it truncates the answers, or check that the conversations have assistant turns',
  })
