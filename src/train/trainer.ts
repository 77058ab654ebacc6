import type { TrainMetrics, WatchedStep } from '../bridge/ops.ts'
import type { Python } from '../bridge/python.ts'
import type { MemoryFigures } from '../core/memory-figures.ts'
import type { CheckpointFolder } from './checkpoints/checkpoint.ts'
import type { CheckpointPosition, CheckpointRecord } from './checkpoints/checkpoint-record.ts'
import { Saves } from './checkpoints/saves.ts'
import type { BatchPlan, MicroStep } from './data/batch-plan.ts'
import type { Batch, Loader } from './data/loader.ts'
import type { LostSamples } from './data/lost-samples.ts'
import type { Refs } from './data/sample-reader.ts'
import type { Validation, Validator } from './validation/validator.ts'

export interface StepMetrics extends Omit<TrainMetrics, 'watched'> {
  /** The optimiser step that the metrics reach up to. */
  readonly step: number
  readonly epoch: number
  readonly tokensPerSecond: number
  /** Of all ranks together. */
  readonly flopsPerSecond: number
  /** Share of the time since the last metrics that this rank waited for its data. */
  readonly dataWaitShare: number
}

export interface StepValidation extends Validation {
  readonly step: number
  readonly epoch: number
  readonly seconds: number
}

export interface StepMemory {
  /** `start`: after the first step of this process, when everything that training needs has been there once. */
  readonly at: 'start' | 'end'
  readonly step: number
  readonly memory: MemoryFigures
}

/** Receives the reports of a run. Only rank 0 reports figures, those of all ranks; every rank reports its phase. */
export interface TrainObserver {
  phase(phase: string): void
  metrics(metrics: StepMetrics): void
  /** Optimiser steps whose numbers have reached the host, in order, some steps after they were made. */
  watched(steps: readonly WatchedStep[]): void
  validation(validation: StepValidation): void
  memory(memory: StepMemory): void
  checkpoint(step: number, dir: string): void
}

export interface TrainerOptions {
  readonly python: Python
  /** The handle of the session that `train.build` made. */
  readonly session: number
  readonly plan: BatchPlan
  readonly loader: Loader
  readonly refs: Refs
  readonly lost: LostSamples
  readonly rank: number
  readonly logInterval: number
  /** Null: the run has no validation. */
  readonly validator: Validator | null
  /** The metric of the checkpoint that the run goes on from. */
  readonly metric: number | null
  readonly save: { readonly every: number; readonly keep: number }
  readonly checkpoints: CheckpointFolder
  /** The fields of the checkpoint record that are the same at every step. */
  readonly run: Pick<CheckpointRecord, 'formatVersion' | 'worldSize' | 'source' | 'identity' | 'contract'>
  readonly observer: TrainObserver
  /** Aborted: all ranks stop at the same optimiser step, and save. */
  readonly signal: AbortSignal
}

export interface TrainOutcome {
  readonly step: number
  readonly checkpoint: string
  /** The run was asked to stop before its last step. */
  readonly stopped: boolean
}

/** The training loop of one rank. Every rank makes the same calls in the same order, or the others wait for ever. */
export class Trainer {
  readonly #options: TrainerOptions
  readonly #saves: Saves
  /** What this rank lost since the last optimiser step. */
  #lost: number[] = []
  /** The newest checkpoint that all ranks know to be complete. */
  #durable = 0
  #lastLog: { at: number; waitedMs: number }
  /** The simulated accept length of the newest validation: what checkpoints are compared by. */
  #metric: number | null
  #begun = false

  constructor(options: TrainerOptions) {
    this.#options = options
    const { python, session, checkpoints, save, observer } = options
    const onComplete = (step: number, dir: string) => observer.checkpoint(step, dir)
    this.#saves = new Saves({ python, session, checkpoints, keep: save.keep, onComplete })
    this.#metric = options.metric
    this.#lastLog = { at: performance.now(), waitedMs: options.loader.waitedMs }
  }

  async run(): Promise<TrainOutcome> {
    const { plan, loader } = this.#options
    await using _saves = this.#saves
    for await (const given of loader) {
      await using batch = given
      const stop = await this.#train(batch)
      const outcome = batch.step.boundary ? await this.#afterStep(batch.step, stop) : null
      if (outcome !== null) return outcome
    }
    throw new Error(`the plan ended before its last step, ${plan.totalSteps}`)
  }

  /** What is due after a step; the outcome if this was the last one of the run. */
  async #afterStep({ step, epoch }: MicroStep, stop: boolean): Promise<TrainOutcome | null> {
    const { plan, logInterval, save, checkpoints } = this.#options
    const last = stop || step === plan.totalSteps
    if (last || step % logInterval === 0) await this.#log(step, epoch)
    await this.#validate(step, epoch, stop)
    if (last || !this.#begun) await this.#reportMemory(last ? 'end' : 'start', step)
    this.#begun = true
    if (!last && step % save.every !== 0) return null
    await this.#save(step)
    if (!last) return null
    await this.#finishSaving(step)
    return { step, checkpoint: checkpoints.pathOf(step), stopped: step < plan.totalSteps }
  }

  /** One micro-step. True when all ranks have agreed to stop here, which they do at boundaries only. */
  async #train({ handle, step: micro, lost }: Batch): Promise<boolean> {
    const { python, session, observer, signal } = this.#options
    observer.phase(`training step ${micro.step}`)
    const { positions, window, boundary } = micro
    this.#lost.push(...lost)
    // A save that has failed ends the run here.
    const votes = { stop: signal.aborted, lost: boundary ? this.#lost.length : 0, saved: this.#saves.complete }
    const report = await python.call('train.step', { session, batch: handle, positions, window, boundary, ...votes })
    const expected = boundary ? micro.step : micro.step - 1
    if (report.stepped !== boundary || report.globalStep !== expected) {
      throw new Error(`train.step is at step ${report.globalStep} where the plan is at ${expected}`)
    }
    observer.watched(report.watched)
    if (boundary) await this.#agreeOnLost(report.lost, micro.cursor)
    if (boundary && report.saved > this.#durable) void this.#acknowledgeUpTo(report.saved)
    return boundary && report.stop
  }

  /** `total`: samples lost in this window, over all ranks. It is equal on all ranks, so all call `dist.union` or none. */
  async #agreeOnLost(total: number, cursor: number): Promise<void> {
    const mine = this.#lost
    this.#lost = []
    if (total === 0) return
    const { numbers } = await this.#options.python.call('dist.union', { numbers: mine })
    this.#options.lost.agree(numbers, cursor)
  }

  async #log(step: number, epoch: number): Promise<void> {
    const { python, session, rank, loader, observer } = this.#options
    const { watched, ...metrics } = await python.call('train.metrics', { session })
    observer.watched(watched)
    const now = performance.now()
    const seconds = Math.max(1e-6, (now - this.#lastLog.at) / 1000)
    const waited = (loader.waitedMs - this.#lastLog.waitedMs) / 1000
    this.#lastLog = { at: now, waitedMs: loader.waitedMs }
    if (rank !== 0) return
    const [tokensPerSecond, flopsPerSecond] = [metrics.tokens / seconds, metrics.flops / seconds]
    const dataWaitShare = Math.min(1, waited / seconds)
    observer.metrics({ ...metrics, tokensPerSecond, flopsPerSecond, dataWaitShare, step, epoch })
  }

  async #validate(step: number, epoch: number, stop: boolean): Promise<void> {
    const { python, session, plan, rank, observer, validator } = this.#options
    if (validator === null || !validator.isDue(step, plan.totalSteps, stop)) return
    observer.phase(`validating at step ${step}`)
    // Work that the device still has to do for training must not count as validation time.
    await python.call('train.settle', { session })
    const begun = performance.now()
    const found = await validator.run()
    const ms = performance.now() - begun
    // Validation must not count as training time.
    this.#lastLog = { ...this.#lastLog, at: this.#lastLog.at + ms }
    this.#metric = found.simulatedAcceptLength
    if (rank === 0) observer.validation({ ...found, step, epoch, seconds: ms / 1000 })
  }

  async #reportMemory(at: StepMemory['at'], step: number): Promise<void> {
    const { python, session, rank, observer } = this.#options
    const memory = await python.call('train.memory', { session })
    if (rank === 0) observer.memory({ at, step, memory })
  }

  /**
   * Taking the snapshot is a collective: rank 0 gets the full state. Rank 0 joins it only once its last checkpoint is
   * written. The other ranks need not wait for a checkpoint until the run ends.
   */
  async #save(step: number): Promise<void> {
    const { python, session, observer } = this.#options
    const { underWay } = this.#saves
    if (underWay !== null) observer.phase(`saving step ${step}, once the checkpoint of step ${underWay} is written`)
    await this.#saves.settled()
    observer.phase(`saving step ${step}`)
    const record = this.#record(step)
    const { handle } = await python.call('train.snapshot', { session })
    if (handle !== null) this.#saves.begin(handle, record)
  }

  /**
   * No rank ends before the last checkpoint is complete. If that save fails, the other ranks block here until the
   * supervisor ends them.
   */
  async #finishSaving(step: number): Promise<void> {
    const { python, observer } = this.#options
    observer.phase(`waiting for the checkpoint of step ${step} to be complete`)
    await this.#saves.settled()
    await python.call('dist.barrier', {})
    await this.#acknowledgeUpTo(step)
  }

  /** Acknowledges the samples of all steps up to `step`: a complete checkpoint contains these steps. */
  #acknowledgeUpTo(step: number): Promise<void> {
    this.#durable = step
    return this.#options.loader.durable(this.#options.plan.position(step).cursor)
  }

  #record(step: number): CheckpointPosition {
    const { plan, run } = this.#options
    const about = { metric: this.#metric, lost: this.#lostByName() }
    return { ...run, globalStep: step, totalSteps: plan.totalSteps, ...plan.position(step), ...about }
  }

  #lostByName(): CheckpointRecord['lost'] {
    const { lost, refs } = this.#options
    return lost.agreed().flatMap(({ sample, since }) => {
      const ref = refs.at(sample)
      return ref === undefined ? [] : [{ sampleId: ref.sampleId, since }]
    })
  }
}
