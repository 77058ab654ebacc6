import type { EventBody } from '../events/events.ts'
import { count, duration, figure, percent, plural } from '../words.ts'
import { memoryLines } from './memory-text.ts'

type Of<K extends EventBody['event']> = Extract<EventBody, { event: K }>

/** At most this many sample ids are printed in a line. The event has all of them. */
const MAX_IDS = 4

/** The parts of the line about a training event; none for other events. */
export function trainParts(body: EventBody): string[] {
  switch (body.event) {
    case 'train.waiting':
      return [
        `waiting for the manifest in ${body.manifest}, which capture or ingest writes`,
        ...(body.parts === undefined ? [] : [`${body.parts.complete} of ${plural(body.parts.count, 'part')} complete`]),
        `fails after ${duration(body.timeoutSeconds)} without a sign of a producer`,
      ]
    case 'train.started':
      return started(body)
    case 'train.metrics':
      return metrics(body)
    case 'train.validation':
      return validation(body)
    case 'train.spike':
      return [`spike at step ${count(body.step)}`, spikeText(body), `samples ${samplesText(body.samples)}`]
    case 'train.notFinite':
      return [
        `loss not finite at step ${count(body.step)}`,
        body.found,
        `check ${plural(idsOf(body.samples).length, 'sample')}: ${samplesText(body.samples)}`,
      ]
    case 'train.refused':
      return [`train.deterministic: ${body.operation} has no deterministic form on this device`]
    case 'train.memory': {
      const [peak, ...parts] = memoryLines(body.memory, body.ranks)
      return [`memory up to step ${count(body.step)}`, [peak, ...parts].join('\n  ')]
    }
    case 'train.checkpoint':
      return [`checkpoint at step ${count(body.step)}`]
    case 'sample.corrupt':
      return [
        `cannot read sample ${body.sampleId}@${body.generation}`,
        body.code,
        ...(body.quarantined ? ['moved to quarantine'] : []),
      ]
    case 'train.finished':
      return [`trained to step ${count(body.step)}`, duration(body.seconds)]
    default:
      return []
  }
}

function started(body: Of<'train.started'>): string[] {
  const millions = figure(Number((body.parameters / 1e6).toPrecision(3)))
  const peak =
    body.peakTflops === null ? '' : `, ${figure(body.peakTflops)} TFLOP/s peak${body.ranks > 1 ? ' each' : ''}`
  return [
    `training ${millions} M parameters on ${plural(body.ranks, 'rank')}`,
    plural(body.samples, 'sample'),
    ...(body.heldOut === 0 ? [] : [`${count(body.heldOut)} held out`]),
    plural(body.totalSteps, 'step'),
    ...(body.resumedFrom === null ? [] : [`resumes from step ${count(body.resumedFrom)}`]),
    ...(body.device === '' ? [] : [`${body.device}${peak}`]),
    ...(body.deterministic ? ['deterministic'] : []),
  ]
}

function metrics(body: Of<'train.metrics'>): string[] {
  return [
    `step ${count(body.step)}/${count(body.totalSteps)}`,
    `loss ${figure(body.loss)}`,
    `acc ${figure(body.acc[0] ?? null)}`,
    `${count(body.tokensPerSecond)} tokens/s`,
    ...(body.tflops === null ? [] : [tflopsText(body.tflops, body.peakShare)]),
    `data wait ${percent(body.dataWaitShare)}`,
  ]
}

/** `597 TFLOP/s (76 % of peak)`. */
export function tflopsText(tflops: number, peakShare: number | null): string {
  const share = peakShare === null ? '' : ` (${percent(peakShare)} of peak)`
  return `${figure(Number(tflops.toPrecision(3)))} TFLOP/s${share}`
}

function validation(body: Of<'train.validation'>): string[] {
  return [
    `validation at step ${count(body.step)}`,
    `loss ${figure(body.loss)}`,
    `acc ${body.acc.map(figure).join(' ')}`,
    `simulated accept length ${lengthText(body.simulatedAcceptLength)}`,
    plural(body.samples, 'sample'),
    `${body.seconds.toFixed(1)} s`,
  ]
}

export const lengthText = (length: number | null): string => (length === null ? 'n/a' : length.toFixed(3))

export function spikeText({ of, value, typical }: Pick<Of<'train.spike'>, 'of' | 'value' | 'typical'>): string {
  return `${of === 'loss' ? 'loss' : 'gradient norm'} ${figure(value)}, usually ${figure(typical)}`
}

type Samples = Of<'train.spike'>['samples']
const idsOf = (samples: Samples): readonly string[] => samples.flatMap(({ sampleIds }) => sampleIds)

function samplesText(samples: Samples): string {
  const ids = idsOf(samples)
  const rest = ids.length > MAX_IDS ? ` and ${count(ids.length - MAX_IDS)} more` : ''
  return `${ids.slice(0, MAX_IDS).join(', ')}${rest}`
}
