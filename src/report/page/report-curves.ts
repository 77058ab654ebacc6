import type { Metrics, Validation } from '../events/run-history.ts'
import { count, figure, percent } from '../words.ts'
import type { Chart, Series } from './chart.ts'

const share = (value: number | null): string => (value === null ? 'n/a' : percent(value))

/** The curves of a training run, in the order a reader asks: does it learn, how well, how steadily, how fast. */
export function curves(metrics: readonly Metrics[]): Chart[] {
  const xs = metrics.map(({ step }) => step)
  const one = (name: string, pick: (at: Metrics) => number | null): Series[] => [{ name, values: metrics.map(pick) }]
  const each = (pick: (at: Metrics) => readonly (number | null)[]): Series[] => byPosition(metrics, pick)
  return [
    {
      id: 'loss',
      title: 'Loss',
      note: 'Weighted over all draft positions; lower is better.',
      xs,
      series: one('loss', (at) => at.loss),
    },
    {
      id: 'ploss',
      title: 'Loss by draft position',
      note: 'Position 1 is the next token; later ones build on guesses.',
      xs,
      series: each((at) => at.ploss),
    },
    {
      id: 'acc',
      title: 'Accuracy by draft position',
      note: 'Share of positions where the draft names the target’s most likely token.',
      xs,
      series: each((at) => at.acc),
      format: share,
      fromZero: true,
    },
    {
      id: 'acceptance',
      title: 'Acceptance rate by draft position',
      note: 'Overlap of the draft’s and the target’s distributions, as training sees it.',
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
      note: 'Tokens a second over all ranks.',
      xs,
      series: one('tokens/s', (at) => at.tokensPerSecond),
      format: (v) => (v === null ? 'n/a' : count(v)),
      fromZero: true,
    },
    {
      id: 'tflops',
      title: 'Computation',
      note: 'TFLOP/s of all ranks, counted from the shapes of what was trained.',
      xs,
      series: one('TFLOP/s', (at) => at.tflops),
      fromZero: true,
    },
    {
      id: 'wait',
      title: 'Waiting for data',
      note: 'Share of the time in which ranks waited for features; near zero is good.',
      xs,
      series: one('data wait', (at) => at.dataWaitShare),
      format: share,
      fromZero: true,
    },
  ]
}

/** The curves of samples that are not trained on; none where there are no such samples. */
export function validationCurves(validations: readonly Validation[]): Chart[] {
  if (validations.length === 0) return []
  const xs = validations.map(({ step }) => step)
  return [
    {
      id: 'validation-length',
      title: 'Validation: simulated accept length',
      note: 'Drafted tokens accepted in a row, were acceptances independent; higher is better.',
      xs,
      series: [{ name: 'tokens', values: validations.map((at) => at.simulatedAcceptLength) }],
      fromZero: true,
    },
    {
      id: 'validation-loss',
      title: 'Validation: loss',
      note: 'When it rises while the training’s loss falls, the draft learns its samples by heart.',
      xs,
      series: [{ name: 'loss', values: validations.map((at) => at.loss) }],
    },
    {
      id: 'validation-ploss',
      title: 'Validation: loss by draft position',
      note: 'Position 1 is the next token; later ones build on guesses.',
      xs,
      series: byPosition(validations, (at) => at.ploss),
    },
    {
      id: 'validation-acc',
      title: 'Validation: accuracy by draft position',
      note: 'Share of positions where the draft names the target’s most likely token.',
      xs,
      series: byPosition(validations, (at) => at.acc),
      format: share,
      fromZero: true,
    },
    {
      id: 'validation-acceptance',
      title: 'Validation: acceptance rate by draft position',
      note: 'Overlap of the draft’s and the target’s distributions.',
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
