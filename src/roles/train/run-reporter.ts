import type { WatchedStep } from '../../bridge/ops.ts'
import { CodedError, hasCode } from '../../core/errors.ts'
import type { RankPlace } from '../../launch/topology.ts'
import type { EventBody, EventSink } from '../../report/events/events.ts'
import type { LostSamples } from '../../train/data/lost-samples.ts'
import type { Loss } from '../../train/data/sample-reader.ts'
import { type RankSamples, samplesOfStep } from '../../train/data/step-samples.ts'
import type { Rehearsed } from '../../train/rehearsal.ts'
import { SpikeWatch } from '../../train/spikes.ts'
import type { StepMemory, StepMetrics, StepValidation, TrainObserver } from '../../train/trainer.ts'
import type { PreparedRun } from './prepare-run.ts'
import type { TensorBoard } from './tensorboard.ts'

/** The device of a rank, and what it was measured to do. */
export interface DevicePeak {
  readonly device: string
  readonly flops: number
}

export interface RunReporterOptions {
  readonly events: EventSink
  readonly place: RankPlace
  readonly run: PreparedRun
  readonly lost: LostSamples
  readonly spikes: { readonly factor: number } | null
  readonly onPhase: (phase: string) => void
  /** Null on all ranks but the first. */
  readonly peak: DevicePeak | null
  readonly board: TensorBoard | null
}

type Started = Pick<Extract<EventBody, { event: 'train.started' }>, 'parameters' | 'resumedFrom' | 'deterministic'>

/** Sample ids in the text of an error; the event has them all. */
const NAMED = 24

/** Says in events what a rank found. Rank 0 speaks for all of them. */
export class RunReporter implements TrainObserver {
  readonly #options: RunReporterOptions
  readonly #spikes: SpikeWatch | null

  constructor(options: RunReporterOptions) {
    this.#options = options
    this.#spikes = options.spikes === null ? null : new SpikeWatch(options.spikes.factor)
  }

  phase(phase: string): void {
    this.#options.onPhase(phase)
  }

  started(about: Started): void {
    const { place, run, peak } = this.#options
    this.emit({
      event: 'train.started',
      ranks: place.worldSize,
      samples: run.refs.length,
      leftOver: run.plan.leftOver,
      heldOut: run.validation?.refs.length ?? 0,
      totalSteps: run.plan.totalSteps,
      device: peak?.device ?? '',
      peakTflops: peak === null ? null : peak.flops / 1e12,
      ...about,
    })
  }

  metrics({ step, epoch, loss, gradNorm, lr, ploss, acc, acceptanceRate, ...rates }: StepMetrics): void {
    const { run, peak, place } = this.#options
    const { tokensPerSecond, dataWaitShare, flopsPerSecond, kernelBuilds } = rates
    const peakShare = peak === null ? null : flopsPerSecond / (peak.flops * place.worldSize)
    const totalSteps = run.plan.totalSteps
    this.emit({
      event: 'train.metrics',
      ...{ step, totalSteps, epoch, loss, gradNorm, lr, ploss, acc, acceptanceRate },
      ...{ tokensPerSecond, dataWaitShare, kernelBuilds, tflops: flopsPerSecond / 1e12, peakShare },
    })
  }

  watched(steps: readonly WatchedStep[]): void {
    if (this.#options.place.rank !== 0) return
    const spikes = steps.flatMap((seen) => this.#spikes?.check(seen) ?? [])
    for (const spike of spikes) this.emit({ event: 'train.spike', ...spike, samples: this.#samplesOf(spike.step) })
  }

  validation(validation: StepValidation): void {
    this.emit({ event: 'train.validation', ...validation })
  }

  memory(memory: StepMemory): void {
    this.emit({ event: 'train.memory', ...memory, ranks: this.#options.place.worldSize })
  }

  rehearsed({ step, microSteps, metrics, memory, loadSeconds, stepSeconds }: Rehearsed, startSeconds: number): void {
    const { run, place } = this.#options
    const { loss, gradNorm, ploss, acc, acceptanceRate, tokens, lossTokens } = metrics
    this.emit({
      event: 'train.rehearsed',
      ...{ step, totalSteps: run.plan.totalSteps, ranks: place.worldSize, microSteps },
      ...{ loss, gradNorm, ploss, acc, acceptanceRate, tokens, lossTokens },
      ...{ startSeconds, loadSeconds, stepSeconds, memory },
    })
  }

  checkpoint(step: number, dir: string): void {
    this.emit({ event: 'train.checkpoint', step, dir })
  }

  /** Emitted at once, by the rank that lost the sample. The ranks decide at the next optimiser step whether the run goes on. */
  lost({ ref: { sampleId, generation }, error, quarantined }: Loss): void {
    const { code, message } = error
    this.#options.events.emit({ event: 'sample.corrupt', sampleId, generation, code, message, quarantined })
  }

  emit(body: EventBody): void {
    if (this.#options.place.rank !== 0) return
    this.#options.events.emit(body)
    this.#options.board?.show(body)
  }

  /** The same failure with what Python cannot know: the samples of the step that it is about. */
  explained(error: unknown): unknown {
    if (hasCode(error, 'CONFIG_INVALID')) {
      const operation = detail(error, 'refused')
      if (typeof operation === 'string') this.emit({ event: 'train.refused', operation })
    }
    const step = hasCode(error, 'FEATURE_INVALID') ? detail(error, 'step') : undefined
    if (!(error instanceof CodedError) || typeof step !== 'number') return error
    const samples = this.#suspects(step, detail(error, 'ranks'))
    const found = hasCode(error, 'FEATURE_INVALID') ? (error.details.found ?? '') : ''
    this.emit({ event: 'train.notFinite', step, found, samples })
    const text = `${error.message}\n  samples: ${named(samples)}`
    return new CodedError(error.code, text, error.details, { cause: error })
  }

  /** The samples of the ranks whose loss is not finite. If only a gradient is not, its rank is unknown: those of all. */
  #suspects(step: number, ranks: unknown): RankSamples[] {
    const all = this.#samplesOf(step)
    const known = all.filter(({ rank }) => Array.isArray(ranks) && ranks.includes(rank))
    return known.length > 0 ? known : all
  }

  #samplesOf(step: number): RankSamples[] {
    const { run, lost } = this.#options
    return samplesOfStep(step, { plan: run.plan, refs: run.refs, lost })
  }
}

const detail = (error: CodedError, name: string): unknown => (error.details as Readonly<Record<string, unknown>>)[name]

function named(samples: readonly RankSamples[]): string {
  const total = samples.reduce((sum, { sampleIds }) => sum + sampleIds.length, 0)
  let left = NAMED
  const parts = samples.flatMap(({ rank, sampleIds }) => {
    const some = sampleIds.slice(0, left)
    left -= some.length
    return some.length === 0 ? [] : [`${some.join(', ')} (rank ${rank})`]
  })
  const more = total > NAMED ? `; and ${total - NAMED} more, in the event train.notFinite` : ''
  return `${parts.join('; ')}${more}`
}
