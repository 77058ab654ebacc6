import { hasCode } from '../../core/errors.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import type { MicroStep } from './batch-plan.ts'
import type { Refs } from './sample-reader.ts'

export interface EarlierWork {
  readonly store: Pick<FeatureStore, 'missing' | 'claim'>
  readonly refs: Refs
  /** This rank's part of the plan, from the beginning. */
  readonly steps: Iterable<Pick<MicroStep, 'cursor' | 'samples'>>
  /** Micro-steps before this one are in the checkpoint. */
  readonly before: number
}

/**
 * Acknowledges what a run that was killed had in its checkpoint and not yet acknowledged, so that nothing of it stays in
 * the store. What cannot be claimed now is left: it is damaged, or another run is at work on it.
 */
export async function settleEarlier({ store, refs, steps, before }: EarlierWork): Promise<void> {
  const done: SampleRef[] = []
  for (const { cursor, samples } of steps) {
    if (cursor >= before) break
    for (const index of samples) {
      const ref = refs.at(index)
      if (ref !== undefined) done.push(ref)
    }
  }
  if (done.length === 0) return
  const gone = new Set(await store.missing(done))
  for (const ref of done) if (!gone.has(ref)) await settle(store, ref)
}

async function settle(store: EarlierWork['store'], ref: SampleRef): Promise<void> {
  try {
    // A claim has to read a tensor: the smallest one.
    await using claim = await store.claim(ref, { names: ['input_ids'], verify: false })
    await claim.acknowledge()
  } catch (error) {
    if (!hasCode(error, 'STORE_BUSY', 'SAMPLE_NOT_FOUND', 'SAMPLE_STALE', 'SAMPLE_CORRUPT')) throw error
  }
}
