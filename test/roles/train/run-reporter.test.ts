import { describe, expect, it } from 'vitest'
import { CodedError, finding } from '../../../src/core/errors.ts'
import { RefList } from '../../../src/refs/manifest.ts'
import type { EventBody } from '../../../src/report/events/events.ts'
import type { PreparedRun } from '../../../src/roles/train/prepare-run.ts'
import { RunReporter } from '../../../src/roles/train/run-reporter.ts'
import { CheckpointFolder } from '../../../src/train/checkpoints/checkpoint.ts'
import { batchPlan } from '../../../src/train/data/batch-plan.ts'
import { fakeLosses, fakeRef } from '../../train/fake-engine.ts'

function reporter({ rank = 0, samples = 2, worldSize = 2 } = {}) {
  const refs = Array.from({ length: 2 * samples * worldSize }, (_, index) => fakeRef(index))
  const settings = { epochs: 1, maxSteps: null, batch: { samples }, accumulate: 1, shuffle: false, seed: 0 }
  const plan = batchPlan(
    refs.map(() => 4),
    { ...settings, worldSize, rank },
  )
  const run: PreparedRun = {
    ...{ refs: RefList.of(refs), validation: null, plan, identity: {}, newest: null, finished: false },
    checkpoints: new CheckpointFolder('/nowhere'),
    draft: {} as PreparedRun['draft'],
  }
  const seen: EventBody[] = []
  const place = { rank, localRank: rank, worldSize, masterAddr: 'x', masterPort: 1, threads: 1 }
  const events = { emit: (body: EventBody) => void seen.push(body) }
  const given = { events, place, run, lost: fakeLosses(refs.length), spikes: { factor: 10 }, board: null }
  const peak = { device: 'a device', flops: 2e12 }
  return { seen, reporter: new RunReporter({ ...given, peak, onPhase: () => undefined }) }
}

/** As it comes from Python: what stands in `details` beyond a finding is only for the reporter. */
function broken(details: object): CodedError {
  const known = { field: 'loss', found: 'loss nan, gradient norm nan', fix: 'look' }
  return new CodedError('FEATURE_INVALID', 'The loss became non-finite.', { ...known, ...details })
}

describe('a loss that is not finite', () => {
  it('is explained by the samples of the ranks where it began', () => {
    const { seen, reporter: told } = reporter()
    const error = told.explained(broken({ step: 2, ranks: [1] }))
    const samples = [{ rank: 1, sampleIds: ['sample-6', 'sample-7'] }]
    expect(seen).toEqual([{ event: 'train.notFinite', step: 2, found: 'loss nan, gradient norm nan', samples }])
    expect(error).toMatchObject({
      code: 'FEATURE_INVALID',
      message: 'The loss became non-finite.\n  samples: sample-6, sample-7 (rank 1)',
      details: { field: 'loss' },
    })
  })

  it('is explained by those of all ranks where nobody knows on which it began', () => {
    const { reporter: told } = reporter()
    expect(told.explained(broken({ step: 1, ranks: [] }))).toMatchObject({
      message: expect.stringContaining('samples: sample-0, sample-1 (rank 0); sample-2, sample-3 (rank 1)'),
    })
  })

  it('names a few samples in the text, and all in the event', () => {
    const { seen, reporter: told } = reporter({ samples: 20 })
    const error = told.explained(broken({ step: 1, ranks: [0, 1] }))
    expect(error).toMatchObject({ message: expect.stringMatching(/sample-19 \(rank 0\); .*\(rank 1\); and 16 more/) })
    expect(
      seen.flatMap((body) => ('samples' in body && Array.isArray(body.samples) ? body.samples : [])),
    ).toMatchObject([{ sampleIds: { length: 20 } }, { sampleIds: { length: 20 } }])
  })

  it('is explained by every rank in its error, and told of by the first one only', () => {
    const { seen, reporter: told } = reporter({ rank: 1 })
    const error = told.explained(broken({ step: 1, ranks: [0] }))
    expect(seen).toEqual([])
    expect(error).toMatchObject({ message: expect.stringContaining('sample-0, sample-1 (rank 0)') })
  })
})

it('an operation that deterministic mode refuses is told of', () => {
  const { seen, reporter: told } = reporter()
  const refused = new CodedError('CONFIG_INVALID', 'refused', { field: 'train.deterministic', ...{ refused: 'put_' } })
  expect(told.explained(refused)).toBe(refused)
  expect(seen).toEqual([{ event: 'train.refused', operation: 'put_' }])
})

it('other failures stay what they are', () => {
  const { seen, reporter: told } = reporter()
  for (const error of [new Error('bug'), finding('CONFIG_INVALID', 'x', {}), finding('FEATURE_INVALID', 'x', {})]) {
    expect(told.explained(error)).toBe(error)
  }
  expect(seen).toEqual([])
})

it('the share of the peak is that of all devices together', () => {
  const { seen, reporter: told } = reporter()
  const figures = {
    steps: 1,
    loss: 1,
    gradNorm: 1,
    lr: 1,
    ploss: [],
    acc: [],
    acceptanceRate: [],
    tokens: 8,
    lossTokens: 4,
  }
  const rates = { tokensPerSecond: 1, dataWaitShare: 0, flops: 1, kernelBuilds: 0, flopsPerSecond: 3e12 }
  told.metrics({ ...figures, ...rates, step: 1, epoch: 0 })
  expect(seen).toMatchObject([{ event: 'train.metrics', tflops: 3, peakShare: 0.75 }])
})
