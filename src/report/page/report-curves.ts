import type { Metrics, Validation } from '../events/run-history.ts'
import { count, figure, percent } from '../words.ts'
import type { Chart, Series } from './chart.ts'

const share = (value: number | null): string => (value === null ? 'n/a' : percent(value))

/** The curves of a training run: first the loss, then accuracy and acceptance, then stability, then speed. */
export function curves(metrics: readonly Metrics[]): Chart[] {
  const xs = metrics.map(({ step }) => step)
  const one = (name: string, pick: (at: Metrics) => number | null): Series[] => [{ name, values: metrics.map(pick) }]
  const each = (pick: (at: Metrics) => readonly (number | null)[]): Series[] => byPosition(metrics, pick)
  return [
    {
      id: 'loss',
      title: 'Loss',
      note: 'Weighted sum over all draft positions; lower is better.',
      xs,
      series: one('loss', (at) => at.loss),
    },
    {
      id: 'ploss',
      title: 'Loss by draft position',
      note: 'Position 1 is the next token. Later positions build on the draft’s own tokens.',
      xs,
      series: each((at) => at.ploss),
    },
    {
      id: 'acc',
      title: 'Accuracy by draft position',
      note: 'Share of positions where the draft’s most likely token is also the target’s.',
      xs,
      series: each((at) => at.acc),
      format: share,
      fromZero: true,
    },
    {
      id: 'acceptance',
      title: 'Acceptance rate by draft position',
      note: 'Overlap of the draft’s and the target’s distributions, on the training samples.',
      xs,
      series: each((at) => at.acceptanceRate),
      format: share,
      fromZero: true,
    },
    {
      id: 'lr',
      title: 'Learning rate',
      note: 'Warm-up, then the schedule of the config.',
      xs,
      series: one('lr', (at) => at.lr),
      format: figure,
      fromZero: true,
    },
    {
      id: 'grad',
      title: 'Gradient norm',
      note: 'Global norm over all ranks, before clipping.',
      xs,
      series: one('gradient norm', (at) => at.gradNorm),
      fromZero: true,
    },
    {
      id: 'tokens',
      title: 'Throughput',
      note: 'Tokens per second of all ranks together.',
      xs,
      series: one('tokens/s', (at) => at.tokensPerSecond),
      format: (v) => (v === null ? 'n/a' : count(v)),
      fromZero: true,
    },
    {
      id: 'tflops',
      title: 'Compute rate',
      note: 'TFLOP/s of all ranks together, computed from the tensor shapes.',
      xs,
      series: one('TFLOP/s', (at) => at.tflops),
      fromZero: true,
    },
    {
      id: 'wait',
      title: 'Waiting for data',
      note: 'Share of the time that ranks waited for features. Near zero is good.',
      xs,
      series: one('data wait', (at) => at.dataWaitShare),
      format: share,
      fromZero: true,
    },
  ]
}

/** The curves of the held-out samples; none if the run has no validation. */
export function validationCurves(validations: readonly Validation[]): Chart[] {
  if (validations.length === 0) return []
  const xs = validations.map(({ step }) => step)
  return [
    {
      id: 'validation-length',
      title: 'Validation: simulated accept length',
      note: 'Estimate of the accepted draft tokens per target pass; higher is better.',
      xs,
      series: [{ name: 'tokens', values: validations.map((at) => at.simulatedAcceptLength) }],
      fromZero: true,
    },
    {
      id: 'validation-loss',
      title: 'Validation: loss',
      note: 'If it rises while the training loss falls, the draft overfits.',
      xs,
      series: [{ name: 'loss', values: validations.map((at) => at.loss) }],
    },
    {
      id: 'validation-ploss',
      title: 'Validation: loss by draft position',
      note: 'Position 1 is the next token. Later positions build on the draft’s own tokens.',
      xs,
      series: byPosition(validations, (at) => at.ploss),
    },
    {
      id: 'validation-acc',
      title: 'Validation: accuracy by draft position',
      note: 'Share of positions where the draft’s most likely token is also the target’s.',
      xs,
      series: byPosition(validations, (at) => at.acc),
      format: share,
      fromZero: true,
    },
    {
      id: 'validation-acceptance',
      title: 'Validation: acceptance rate by draft position',
      note: 'Overlap of the draft’s and the target’s distributions, on the held-out samples.',
      xs,
      series: byPosition(validations, (at) => at.acceptanceRate),
      format: share,
      fromZero: true,
    },
  ]
}

function byPosition<T>(metrics: readonly T[], pick: (at: T) => readonly (number | null)[]): Series[] {
  const positions = Math.max(0, ...metrics.map((at) => pick(at).length))
  return Array.from({ length: positions }, (_, k) => ({
    name: String(k + 1),
    values: metrics.map((at) => pick(at)[k] ?? null),
  }))
}
