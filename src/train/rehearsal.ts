import type { TrainMetrics } from '../bridge/ops.ts'
import type { Python } from '../bridge/python.ts'
import type { MemoryFigures } from '../core/memory-figures.ts'
import type { BatchPlan } from './data/batch-plan.ts'
import { Loader, type LoaderOptions } from './data/loader.ts'
import type { ConsumerStore } from './data/sample-reader.ts'

export interface RehearsalOptions extends Omit<LoaderOptions, 'steps'> {
  readonly python: Python
  readonly plan: BatchPlan
  readonly rank: number
  /** The optimiser step to make, 1-based. */
  readonly step: number
}

export interface Rehearsed {
  readonly step: number
  readonly microSteps: number
  readonly metrics: TrainMetrics
  readonly memory: MemoryFigures
  /** Until the first batch was there, and from then on. */
  readonly loadSeconds: number
  readonly stepSeconds: number
}

/**
 * One optimiser step with everything real, in memory only: no checkpoint, no acknowledgement, no quarantine. All ranks
 * do it together. Claims are given back when it ends.
 */
export async function rehearse(options: RehearsalOptions): Promise<Rehearsed> {
  const { python, session, plan, rank, step } = options
  const steps = plan.ofStep(step)[rank] ?? []
  const loader = new Loader({ ...options, store: untouched(options.store), steps })
  const asked = performance.now()
  let loaded = asked
  for await (const given of loader) {
    await using batch = given
    const { cursor, positions, window, boundary } = batch.step
    if (cursor === steps[0]?.cursor) loaded = performance.now()
    const common = { session, batch: batch.handle, positions, window, boundary }
    await python.call('train.step', { ...common, stop: false, lost: 0, saved: 0 })
  }
  // Waits for the device, and throws if the loss was not finite.
  const metrics = await python.call('train.metrics', { session })
  const ended = performance.now()
  const memory = await python.call('train.memory', { session })
  const [loadSeconds, stepSeconds] = [(loaded - asked) / 1000, (ended - loaded) / 1000]
  return { step, microSteps: steps.length, metrics, memory, loadSeconds, stepSeconds }
}

/** The same store, but a damaged sample is not moved to quarantine. */
function untouched(store: ConsumerStore): ConsumerStore {
  return {
    retain: store.retain,
    get: (...given) => store.get(...given),
    getMany: (...given) => store.getMany(...given),
    claim: (...given) => store.claim(...given),
    claimMany: (...given) => store.claimMany(...given),
    quarantine: () => Promise.reject(new Error('a rehearsal moves nothing')),
  }
}
