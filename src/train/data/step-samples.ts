import type { BatchPlan } from './batch-plan.ts'
import type { LostSamples } from './lost-samples.ts'
import type { Refs } from './sample-reader.ts'

export interface RankSamples {
  readonly rank: number
  readonly sampleIds: string[]
}

export interface StepSources {
  readonly plan: BatchPlan
  readonly refs: Refs
  readonly lost: LostSamples
}

/** What each rank trained on in one optimiser step, without what could not be read. */
export function samplesOfStep(step: number, { plan, refs, lost }: StepSources): RankSamples[] {
  return plan.ofStep(step).map((microSteps, rank) => {
    const sampleIds = microSteps.flatMap(({ cursor, samples }) =>
      samples.filter((index) => !lost.leftOut(index, cursor)).flatMap((index) => refs.at(index)?.sampleId ?? []),
    )
    return { rank, sampleIds }
  })
}
