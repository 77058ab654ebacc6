import type { Metrics, RunHistory, Spike, Validation } from '../events/run-history.ts'
import { count, duration, figure, percent, plural } from '../words.ts'
import { memoryLines } from './memory-text.ts'
import { lengthText, spikeText, tflopsText } from './train-lines.ts'

/** A line of the summary: its name and its text. */
export type Row = readonly [string, string]

/** The rows about training: loss, accuracy, validation, speed, memory, spikes. */
export function training(history: RunHistory): Row[] {
  const [first, last] = [history.metrics[0], history.metrics.at(-1)]
  if (first === undefined || last === undefined) return []
  const again = history.restarts > 0 ? `, ${plural(history.restarts, 'restart')}` : ''
  const time = history.trained === null ? '' : `, ${duration(history.trained.seconds)}`
  const isOne = first === last
  const span = `(step ${isOne ? '' : `${first.step} to `}${last.step} of ${last.totalSteps}${time}${again})`
  const change = (text: (metrics: Metrics) => string) => (isOne ? text(last) : `${text(first)} -> ${text(last)}`)
  const dropped = history.trainStarted?.leftOver ?? 0
  return [
    ['loss', `${change(({ loss }) => figure(loss))} ${span}`],
    ['', 'summed over the draft positions, weighted with train.ttt.decay'],
    ['accuracy', `${change(({ acc }) => share(acc[0]))} at draft position 1`],
    ...(dropped > 0 ? [droppedRow(dropped)] : []),
    ...validated(history.validations),
    ['speed', speed(history.metrics)],
    ...memory(history),
    ...spikes(history.spikes),
  ]
}

const share = (value: number | null | undefined): string => (value == null ? 'n/a' : percent(value))

const droppedRow = (dropped: number): Row => [
  '',
  `${plural(dropped, 'sample')} per epoch dropped, so that every rank has an equal share; other samples each epoch`,
]

function validated(validations: readonly Validation[]): Row[] {
  const last = validations.at(-1)
  if (last === undefined) return []
  const best = bestOf(validations)
  const better = best.step === last.step ? ', the best so far' : `; best ${at(best)}`
  const about = `loss ${figure(last.loss)}, accuracy ${share(last.acc[0])} on ${plural(last.samples, 'held-out sample')}`
  return [
    ['validated', `simulated accept length ${at(last)}${better}`],
    ['', about],
  ]
}

const at = ({ simulatedAcceptLength, step }: Validation): string =>
  `${lengthText(simulatedAcceptLength)} at step ${count(step)}`

function bestOf(validations: readonly [Validation, ...Validation[]] | readonly Validation[]): Validation {
  const length = (one: Validation) => one.simulatedAcceptLength ?? Number.NEGATIVE_INFINITY
  return validations.reduce((best, one) => (length(one) >= length(best) ? one : best))
}

/** Medians over the log intervals, because the first one contains the warm-up and others may contain a checkpoint. */
export function speed(metrics: readonly Metrics[]): string {
  const rate = `${count(median(metrics.map(({ tokensPerSecond }) => tokensPerSecond)))} tokens/s`
  const tflops = metrics.flatMap((one) => one.tflops ?? [])
  if (tflops.length === 0) return rate
  const shares = metrics.flatMap(({ peakShare }) => peakShare ?? [])
  return `${rate}, ${tflopsText(median(tflops), shares.length === 0 ? null : median(shares))}`
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0
}

function memory({ memory }: RunHistory): Row[] {
  if (memory === null) return []
  const [peak, ...parts] = memoryLines(memory.memory, memory.ranks)
  return [['memory', peak], ...parts.map((part): Row => ['', part])]
}

function spikes(found: readonly Spike[]): Row[] {
  const worst = [...found].sort((a, b) => b.value / b.typical - a.value / a.typical)[0]
  if (worst === undefined) return []
  return [['spikes', `${count(found.length)}; the worst at step ${count(worst.step)}: ${spikeText(worst)}`]]
}
