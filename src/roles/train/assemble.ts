import path from 'node:path'
import type { OpInput } from '../../bridge/ops.ts'
import type { Python } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import { finding } from '../../core/errors.ts'
import type { RankPlace } from '../../launch/topology.ts'
import type { EventSink } from '../../report/events/events.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import { verify } from '../../train/checkpoints/checkpoint.ts'
import { CHECKPOINT_FORMAT } from '../../train/checkpoints/checkpoint-record.ts'
import { Loader } from '../../train/data/loader.ts'
import { LostSamples } from '../../train/data/lost-samples.ts'
import { settleEarlier } from '../../train/data/settle-earlier.ts'
import { type Rehearsed, rehearse } from '../../train/rehearsal.ts'
import { Trainer, type TrainOutcome } from '../../train/trainer.ts'
import { chosenCheckpoint } from './chosen-checkpoint.ts'
import { settleHeldOut, validatorOf } from './held-out-work.ts'
import {
  type CheckpointUse,
  type PreparedRun,
  prepareRun,
  type TrainingConfig,
  type TrainingData,
} from './prepare-run.ts'
import { RunReporter } from './run-reporter.ts'
import { TensorBoard } from './tensorboard.ts'

export interface AssembleOptions {
  readonly config: TrainingConfig
  readonly data: TrainingData
  readonly store: FeatureStore
  readonly python: Python
  readonly place: RankPlace
  readonly checkpoints?: CheckpointUse
  readonly signal: AbortSignal
  readonly events: EventSink
  readonly onPhase: (phase: string) => void
}

/** Seconds that a rank waits for the others: they read features and start libraries at different speeds. */
const MEETING_SECONDS = 600

/**
 * Colocated and disaggregated training both end here, so that they differ in nothing but the store. Resumes from the
 * newest checkpoint in run.dir when there is one.
 */
export async function assembleOffline(options: AssembleOptions): Promise<TrainingRuntime> {
  const { config, data, place, python, onPhase } = options
  const agrees = options.checkpoints?.resumeFrom === 'agreed'
  if (agrees) await meet(options)
  const run = await prepareRun(config, data, place, await chosenCheckpoint(options))
  if (run.newest !== null && place.rank === 0) await verify(run.newest)
  if (run.finished) {
    if (agrees) await python.call('dist.close', {})
    return new TrainingRuntime(options, run, null)
  }
  // On the other lane, while the ranks meet: identifying a large target takes seconds. Each node reads its own files.
  const sameTarget = place.localRank === 0 ? requireSameTarget(python, config.target.model, data) : Promise.resolve()
  sameTarget.catch(() => undefined)
  if (!agrees) await meet(options)
  try {
    onPhase('building the draft')
    return new TrainingRuntime(options, run, await openSession(options, run, sameTarget))
  } catch (error) {
    // Leaving a group of several ranks would wait for the others; this process ends anyway.
    if (place.worldSize === 1) await python.call('dist.close', {})
    throw error
  }
}

async function meet({ config, place, python, onPhase }: AssembleOptions): Promise<void> {
  onPhase('meeting the other ranks')
  const { rank, localRank, worldSize, masterAddr, masterPort, threads } = place
  const meeting = { rank, localRank, worldSize, masterAddr, masterPort, threads }
  const { deterministic } = config.train
  await python.call('dist.init', { ...meeting, device: 'auto', timeoutSeconds: MEETING_SECONDS, deterministic })
}

/** What Python builds a training session from: sections of the config as they are, and what the run adds to them. */
export function buildPayload(config: TrainingConfig, data: TrainingData, run: PreparedRun): OpInput<'train.build'> {
  const { train, draft, target } = config
  const { contract, countsFiles } = data
  const { totalSteps } = run.plan
  return { train, draft, target, draftConfig: run.draft, contract, countsFiles, totalSteps, seed: config.run.seed }
}

/** `assembleOffline` for an EAGLE3 draft, whatever `draft.architecture` says. */
export function assembleOfflineEagle3(options: AssembleOptions): Promise<TrainingRuntime> {
  const { config } = options
  return assembleOffline({ ...options, config: { ...config, draft: { ...config.draft, architecture: 'eagle3' } } })
}

async function openSession(
  { config, data, python }: AssembleOptions,
  run: PreparedRun,
  sameTarget: Promise<void>,
): Promise<OpenSession> {
  const built = await python.call('train.build', buildPayload(config, data, run))
  const owned = new Owned(python, built.handle)
  try {
    await sameTarget
    if (run.newest !== null) await load(python, built.handle, run.newest)
    return { owned, parameters: built.parameters }
  } catch (error) {
    await owned[Symbol.asyncDispose]()
    throw error
  }
}

async function load(python: Python, session: number, { dir, record }: NonNullable<PreparedRun['newest']>) {
  const { globalStep } = await python.call('train.load', { session, dir })
  if (globalStep === record.globalStep) return
  throw finding('CHECKPOINT_INVALID', 'the state and the record of the checkpoint are of different steps', {
    file: dir,
    field: 'globalStep',
    found: `${globalStep} in the state, ${record.globalStep} in checkpoint.json`,
    fix: 'remove that checkpoint folder to go on from the one before it',
  })
}

/** The head and embedding come from the target's files, and must be those that the features were made with. */
async function requireSameTarget(python: Python, model: string, { contract }: TrainingData): Promise<void> {
  const { hash } = await python.call('target.identity', { model, tokenizer: null })
  if (hash === contract.targetHash) return
  throw finding('CONTRACT_MISMATCH', 'the features come from another target than target.model', {
    file: model,
    field: 'target.model',
    found: `${hash}; the features come from ${contract.target} (${contract.targetHash})`,
    fix: 'name the target that made the features in target.model, or produce them again',
  })
}

interface OpenSession {
  readonly owned: Owned
  readonly parameters: number
}

/** One rank, ready to train. */
export class TrainingRuntime implements AsyncDisposable {
  readonly totalSteps: number
  /** The step it goes on from, or null at the beginning. */
  readonly resumedFrom: number | null
  readonly #options: AssembleOptions
  readonly #run: PreparedRun
  readonly #session: OpenSession | null
  #failedInCollective = false

  constructor(options: AssembleOptions, run: PreparedRun, session: OpenSession | null) {
    this.totalSteps = run.plan.totalSteps
    this.resumedFrom = run.newest?.record.globalStep ?? null
    this.#options = options
    this.#run = run
    this.#session = session
  }

  /** Trains to the end of the run, or to where it is asked to stop. A run that is finished already returns at once. */
  async fit(): Promise<TrainOutcome> {
    const { newest, finished } = this.#run
    await this.#settleEarlier()
    if (this.#session === null) {
      if (newest === null) throw new Error('a run without a session has a checkpoint')
      if (finished) await settleHeldOut(this.#options, this.#run)
      return { step: newest.record.globalStep, checkpoint: newest.dir, stopped: false }
    }
    const begun = performance.now()
    await using board = await this.#inStep(() => this.#board())
    const outcome = await this.#reporting(this.#session, board, async (session, reporter, lost) => {
      const outcome = await this.#trainer(session, reporter, lost).run()
      const { step, checkpoint } = outcome
      if (!outcome.stopped) await settleHeldOut(this.#options, this.#run)
      const seconds = (performance.now() - begun) / 1000
      if (!outcome.stopped) reporter.emit({ event: 'train.finished', step, checkpoint, seconds })
      return outcome
    })
    await board?.settled()
    return outcome
  }

  /**
   * Makes the next optimiser step of the run and keeps nothing of it, neither on disk nor in the store. Null when the
   * run is finished: there is no next step.
   */
  async rehearse(): Promise<Rehearsed | null> {
    if (this.#session === null) return null
    const startSeconds = performance.now() / 1000
    return this.#reporting(this.#session, null, async (session, reporter, lost) => {
      const { python, place, store } = this.#options
      const { plan } = this.#run
      const step = (this.resumedFrom ?? 0) + 1
      const reading = { ...this.#reading(reporter), refs: this.#run.refs, lost }
      const rehearsed = await rehearse({ python, session, store, plan, rank: place.rank, step, ...reading })
      reporter.rehearsed(rehearsed, startSeconds)
      return rehearsed
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // After a failure the ranks are out of step, and leaving the group would wait for the others.
    if (this.#session === null || this.#failedInCollective) return
    await this.#session.owned[Symbol.asyncDispose]()
    await this.#options.python.call('dist.close', {})
  }

  /** Runs `work` with a reporter, which also adds to a failure the samples that it concerns. */
  #reporting<T>(
    { owned, parameters }: OpenSession,
    board: TensorBoard | null,
    work: (session: number, reporter: RunReporter, lost: LostSamples) => Promise<T>,
  ): Promise<T> {
    const { config, python, place, events, onPhase } = this.#options
    const { spikes, deterministic } = config.train
    const lost = this.#lost()
    return this.#inStep(async () => {
      // Only rank 0 measures; the other ranks wait for it at the first step.
      const peak = place.rank === 0 ? await python.call('train.peak', { session: owned.handle }) : null
      const run = this.#run
      const reporter = new RunReporter({ events, place, run, lost, spikes, onPhase, peak, board })
      reporter.started({ parameters, resumedFrom: this.resumedFrom, deterministic })
      return work(owned.handle, reporter, lost).catch((error: unknown) => {
        throw reporter.explained(error)
      })
    })
  }

  /** `work` holds collectives: a failure in it leaves the other ranks waiting, so this rank must not wait for them. */
  async #inStep<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.#failedInCollective = this.#options.place.worldSize > 1
      throw error
    }
  }

  async #board(): Promise<TensorBoard | null> {
    const { config, python, place } = this.#options
    if (!config.train.tensorboard || place.rank !== 0) return null
    return TensorBoard.open(python, path.join(config.run.dir, 'tensorboard'), this.resumedFrom)
  }

  #trainer(session: number, reporter: RunReporter, lost: LostSamples): Trainer {
    const { config, data, store, python, place, signal } = this.#options
    const { plan, checkpoints, identity, refs, newest } = this.#run
    const { train } = config
    const steps = plan.from(this.resumedFrom ?? 0)
    return new Trainer({
      python,
      session,
      plan,
      loader: new Loader({ python, session, store, refs, steps, lost, ...this.#reading(reporter) }),
      refs,
      lost,
      rank: place.rank,
      logInterval: train.logInterval,
      validator: validatorOf(this.#options, this.#run, session, this.#reading(reporter)),
      metric: newest?.record.metric ?? null,
      save: train.save,
      checkpoints,
      run: {
        formatVersion: CHECKPOINT_FORMAT,
        worldSize: place.worldSize,
        source: { runId: config.run.id, storeId: store.id, manifestSha256: data.manifestSha256 },
        identity,
        contract: data.contract,
      },
      observer: reporter,
      signal,
    })
  }

  #reading(reporter: RunReporter) {
    const { data, train } = this.#options.config
    const onLost = reporter.lost.bind(reporter)
    const { prefetch, prefetchBytes } = train
    return { maxLength: data.maxLength, prefetch, prefetchBytes, onLost }
  }

  #lost(): LostSamples {
    const { config } = this.#options
    const { refs, newest } = this.#run
    const { maxCorruptShare: share, prefetch: ahead } = config.train
    const since = new Map<string, number>()
    for (const each of newest?.record.lost ?? []) since.set(each.sampleId, each.since)
    const known: { sample: number; since: number }[] = []
    for (let sample = 0; known.length < since.size && sample < refs.length; sample += 1) {
      const at = since.get(refs.at(sample)?.sampleId ?? '')
      if (at !== undefined) known.push({ sample, since: at })
    }
    return new LostSamples({ samples: refs.length, share, ahead, known })
  }

  /** The process may have been killed after a checkpoint was complete and before its samples were acknowledged. */
  async #settleEarlier(): Promise<void> {
    const { store } = this.#options
    const { plan, newest, refs } = this.#run
    if (store.retain || newest === null) return
    await settleEarlier({ store, refs, steps: plan.from(0), before: newest.record.cursor })
  }
}
