import type { OpInput } from '../bridge/ops.ts'
import type { Python } from '../bridge/python.ts'
import { Owned } from '../bridge/tensor-set.ts'
import { finding } from '../core/errors.ts'
import type { RankPlace } from '../launch/topology.ts'
import type { EventSink } from '../report/events.ts'
import type { FeatureStore } from '../store/feature-store.ts'
import { verify } from '../train/checkpoint.ts'
import { CHECKPOINT_FORMAT } from '../train/checkpoint-record.ts'
import { Loader } from '../train/loader.ts'
import { LostSamples } from '../train/lost-samples.ts'
import type { Loss } from '../train/sample-reader.ts'
import { settleEarlier } from '../train/settle-earlier.ts'
import { Trainer, type TrainObserver, type TrainOutcome } from '../train/trainer.ts'
import { type PreparedRun, prepareRun, type TrainingConfig, type TrainingData } from './prepare-run.ts'

export interface AssembleOptions {
  readonly config: TrainingConfig
  readonly data: TrainingData
  readonly store: FeatureStore
  readonly python: Python
  readonly place: RankPlace
  readonly signal: AbortSignal
  readonly events: EventSink
  readonly onPhase: (phase: string) => void
}

/** Ranks read their features and start their libraries at their own pace before they meet. */
const MEETING_SECONDS = 600

/**
 * Both ways to train end here, so that they cannot differ in anything but the store. Goes on from the newest
 * checkpoint in run.dir when there is one.
 */
export async function assembleOfflineEagle3(options: AssembleOptions): Promise<Eagle3Runtime> {
  const { config, data, place, python, onPhase } = options
  const run = await prepareRun(config, data, place)
  if (run.newest !== null && place.rank === 0) await verify(run.newest)
  if (run.finished) return new Eagle3Runtime(options, run, null)
  // On the other lane, while the ranks meet: identifying a large target takes seconds.
  const sameTarget = place.rank === 0 ? requireSameTarget(python, config.target.model, data) : Promise.resolve()
  sameTarget.catch(() => undefined)
  onPhase('meeting the other ranks')
  const { rank, localRank, worldSize, masterAddr, masterPort, threads } = place
  const meeting = { rank, localRank, worldSize, masterAddr, masterPort, threads }
  await python.call('dist.init', { ...meeting, device: 'auto', timeoutSeconds: MEETING_SECONDS })
  try {
    onPhase('building the draft')
    return new Eagle3Runtime(options, run, await openSession(options, run, sameTarget))
  } catch (error) {
    // With others in the group it would wait for them; this process is about to end anyway.
    if (worldSize === 1) await python.call('dist.close', {})
    throw error
  }
}

/** What Python is told to build. */
export function buildPayload(config: TrainingConfig, data: TrainingData, run: PreparedRun): OpInput<'train.build'> {
  const { train } = config
  return {
    draft: run.draft,
    init: config.draft.init,
    target: config.target.model,
    counts: data.countsFile,
    ttt: train.ttt,
    optimizer: train.optimizer,
    totalSteps: run.plan.totalSteps,
    precision: train.precision,
    parallel: train.parallel,
    unroll: train.unroll,
    compact: train.compact,
    recompute: train.recompute,
    told: train.storedTeacher,
    seed: config.run.seed,
    finalNorm: data.contract.finalNorm,
  }
}

async function openSession(
  { config, data, python }: AssembleOptions,
  run: PreparedRun,
  sameTarget: Promise<void>,
): Promise<Session> {
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
  const { hash } = await python.call('target.describe', { model })
  if (hash === contract.targetHash) return
  throw finding('CONTRACT_MISMATCH', 'the features were made with another target than the one to train for', {
    file: model,
    field: 'target.model',
    found: `${hash}; the features come from ${contract.target} (${contract.targetHash})`,
    fix: 'name the target that made the features in target.model, or produce them again',
  })
}

interface Session {
  readonly owned: Owned
  readonly parameters: number
}

/** One rank, ready to train. */
export class Eagle3Runtime implements AsyncDisposable {
  readonly totalSteps: number
  /** The step it goes on from, or null at the beginning. */
  readonly resumedFrom: number | null
  readonly #options: AssembleOptions
  readonly #run: PreparedRun
  readonly #session: Session | null
  #stranded = false

  constructor(options: AssembleOptions, run: PreparedRun, session: Session | null) {
    this.totalSteps = run.plan.totalSteps
    this.resumedFrom = run.newest?.record.globalStep ?? null
    this.#options = options
    this.#run = run
    this.#session = session
  }

  /** Trains to the end of the run, or to where it is asked to stop. A run that is finished already returns at once. */
  async fit(): Promise<TrainOutcome> {
    const { newest } = this.#run
    await this.#settleEarlier()
    if (this.#session === null) {
      if (newest === null) throw new Error('a run without a session has a checkpoint')
      return { step: newest.record.globalStep, checkpoint: newest.dir, stopped: false }
    }
    const begun = performance.now()
    this.#announce(this.#session)
    try {
      const outcome = await this.#trainer(this.#session).run()
      const { step, checkpoint } = outcome
      const seconds = (performance.now() - begun) / 1000
      if (!outcome.stopped) this.#emit({ event: 'train.finished', step, checkpoint, seconds })
      return outcome
    } catch (error) {
      this.#stranded = this.#options.place.worldSize > 1
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // After a failure the other ranks are not where this one is, and leaving the group would wait for them.
    if (this.#session === null || this.#stranded) return
    await this.#session.owned[Symbol.asyncDispose]()
    await this.#options.python.call('dist.close', {})
  }

  #trainer({ owned }: Session): Trainer {
    const { config, data, store, python, place, signal } = this.#options
    const { plan, checkpoints, identity } = this.#run
    const { train } = config
    const { maxLength } = config.data
    const { refs, manifestSha256 } = data
    const { prefetch } = train
    const lost = this.#lost()
    const session = owned.handle
    const steps = plan.from(this.resumedFrom ?? 0)
    const onLost = (loss: Loss) => this.#sayLost(loss)
    return new Trainer({
      python,
      session,
      plan,
      loader: new Loader({ python, session, store, refs, steps, maxLength, prefetch, lost, onLost }),
      refs,
      lost,
      rank: place.rank,
      logInterval: train.logInterval,
      save: train.save,
      checkpoints,
      run: {
        formatVersion: CHECKPOINT_FORMAT,
        worldSize: place.worldSize,
        source: { runId: config.run.id, storeId: store.id, manifestSha256 },
        identity,
      },
      observer: this.#observer(),
      signal,
    })
  }

  #lost(): LostSamples {
    const { data, config } = this.#options
    const { maxCorruptShare: share, prefetch: ahead } = config.train
    const since = new Map<string, number>()
    for (const each of this.#run.newest?.record.lost ?? []) since.set(each.sampleId, each.since)
    const known: { sample: number; since: number }[] = []
    for (let sample = 0; known.length < since.size && sample < data.refs.length; sample += 1) {
      const at = since.get(data.refs.at(sample)?.sampleId ?? '')
      if (at !== undefined) known.push({ sample, since: at })
    }
    return new LostSamples({ samples: data.refs.length, share, ahead, known })
  }

  /** A kill may have come between a checkpoint and the samples that it frees. */
  async #settleEarlier(): Promise<void> {
    const { store, data } = this.#options
    const { plan, newest } = this.#run
    if (store.retain || newest === null) return
    await settleEarlier({ store, refs: data.refs, steps: plan.from(0), before: newest.record.cursor })
  }

  /** Said by the rank that met it: whether the run goes on is another matter, and may take a while to be agreed on. */
  #sayLost({ ref: { sampleId, generation }, error, quarantined }: Loss): void {
    const { code, message } = error
    this.#options.events.emit({ event: 'sample.corrupt', sampleId, generation, code, message, quarantined })
  }

  #observer(): TrainObserver {
    return {
      phase: this.#options.onPhase,
      checkpoint: (step, dir) => this.#emit({ event: 'train.checkpoint', step, dir }),
      metrics: ({ step, epoch, loss, gradNorm, lr, ploss, acc, acceptanceRate, tokensPerSecond, dataWaitShare }) =>
        this.#emit({
          event: 'train.metrics',
          totalSteps: this.totalSteps,
          ...{ step, epoch, loss, gradNorm, lr, ploss, acc, acceptanceRate, tokensPerSecond, dataWaitShare },
        }),
    }
  }

  #announce({ parameters }: Session): void {
    const { data, place } = this.#options
    this.#emit({
      event: 'train.started',
      ranks: place.worldSize,
      samples: data.refs.length,
      leftOver: this.#run.plan.leftOver,
      totalSteps: this.totalSteps,
      parameters,
      resumedFrom: this.resumedFrom,
    })
  }

  #emit(body: Parameters<EventSink['emit']>[0]): void {
    if (this.#options.place.rank === 0) this.#options.events.emit(body)
  }
}
