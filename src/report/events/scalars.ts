import type { EventBody } from './events.ts'

/** The values of one step, by the tag that TensorBoard shows. */
export interface Scalars {
  readonly step: number
  readonly values: Readonly<Record<string, number>>
}

/** The scalars of an event, taken from its fields only. Null if the event has none. */
export function scalarsOf(body: EventBody): Scalars | null {
  switch (body.event) {
    case 'train.metrics':
      return points(body.step, [
        ...losses('train', body),
        ['train/gradient_norm', body.gradNorm],
        ['train/learning_rate', body.lr],
        ['throughput/tokens_per_second', body.tokensPerSecond],
        ['throughput/tflops', body.tflops],
        ['throughput/share_of_peak', body.peakShare],
        ['throughput/data_wait_share', body.dataWaitShare],
      ])
    case 'train.validation':
      return points(body.step, [
        ...losses('validation', body),
        ['validation/simulated_accept_length', body.simulatedAcceptLength],
      ])
    default:
      return null
  }
}

type Measured = number | null
interface Losses {
  readonly loss: Measured
  readonly ploss: readonly Measured[]
  readonly acc: readonly Measured[]
  readonly acceptanceRate: readonly Measured[]
}

function losses(group: string, { loss, ploss, acc, acceptanceRate }: Losses): [string, Measured][] {
  const byPosition = (name: string, values: readonly Measured[]) =>
    values.map((value, k): [string, Measured] => [`${group}/${name}/${k + 1}`, value])
  return [
    [`${group}/loss`, loss],
    ...byPosition('loss_at', ploss),
    ...byPosition('accuracy_at', acc),
    ...byPosition('acceptance_rate_at', acceptanceRate),
  ]
}

function points(step: number, values: readonly (readonly [string, Measured])[]): Scalars {
  const measured = values.flatMap(([tag, value]) => (value === null ? [] : [[tag, value] as const]))
  return { step, values: Object.fromEntries(measured) }
}
