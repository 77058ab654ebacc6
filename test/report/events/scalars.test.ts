import { expect, it } from 'vitest'
import { scalarsOf } from '../../../src/report/events/scalars.ts'
import { metrics, trainStarted, validated, wholeRun } from '../sample-run.ts'

it('curves are the figures of metrics and validations, by draft position, without those that were not measured', () => {
  expect(scalarsOf(metrics(10, 8.5))).toEqual({
    step: 10,
    values: {
      'train/loss': 8.5,
      'train/loss_at/1': 8.5,
      'train/loss_at/2': 9.5,
      'train/accuracy_at/1': 0.25,
      'train/acceptance_rate_at/1': 0.2,
      'train/acceptance_rate_at/2': 0.1,
      'train/gradient_norm': 0.5,
      'train/learning_rate': 1e-3,
      'throughput/tokens_per_second': 1234.5,
      'throughput/tflops': 0.0412,
      'throughput/share_of_peak': 0.34,
      'throughput/data_wait_share': 0.02,
    },
  })
  expect(scalarsOf(validated(50, 1.25))).toMatchObject({
    step: 50,
    values: { 'validation/loss': 5.5, 'validation/accuracy_at/2': 0.5, 'validation/simulated_accept_length': 1.25 },
  })
})

it('other events have none', () => {
  expect(scalarsOf(trainStarted(null))).toBeNull()
  expect(wholeRun.flatMap((body) => scalarsOf(body) ?? [])).toHaveLength(5)
})
