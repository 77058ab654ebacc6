import { partText } from '../../core/part.ts'
import type { EventBody } from '../events/events.ts'
import { printable } from '../printable.ts'
import { bytes, count, duration, figure, plural } from '../words.ts'
import { generatedParts } from './generated-lines.ts'
import { trainParts } from './train-lines.ts'

/** Progress of a phase: `done` of `total` units. */
export interface Step {
  readonly phase: 'generate' | 'produce' | 'train' | 'eval'
  /** When it was shown, in milliseconds of a time that does not step. */
  readonly at: number
  readonly done: number
  readonly total: number | null
}

/** The progress that an event reports; undefined for an event that reports none. */
export function stepOf(body: EventBody, at: number): Step | undefined {
  switch (body.event) {
    case 'produce.progress':
      return { phase: 'produce', at, done: inputsOf(body), total: body.total }
    case 'train.metrics':
      return { phase: 'train', at, done: body.step, total: body.totalSteps }
    case 'generate.progress':
      return { phase: 'generate', at, done: body.written + body.leftOut + body.refused, total: body.total }
    case 'eval.prompt':
      return { phase: 'eval', at, done: body.done, total: body.total }
    default:
      return undefined
  }
}

/** The start of a phase, from which its rate is measured. Work of an interrupted run must not count into the rate. */
export function startOf(body: EventBody, at: number): Step | undefined {
  switch (body.event) {
    case 'train.started':
      return { phase: 'train', at, done: body.resumedFrom ?? 0, total: body.totalSteps }
    case 'eval.started':
      return { phase: 'eval', at, done: 0, total: body.prompts }
    default:
      return undefined
  }
}

/** One line about an event and its step, if it has one. Rate and remaining time are measured from `first`, the start of the phase. */
export function progressLine(body: EventBody, step?: Step, first?: Step): string {
  return [...parts(body), ...paceOf(step, first)].join(' · ')
}

function paceOf(step: Step | undefined, first: Step | undefined): string[] {
  if (step === undefined || first === undefined || step.done <= first.done || step.at <= first.at) return []
  const perSecond = (step.done - first.done) / ((step.at - first.at) / 1000)
  const unit = { generate: 'conversations/s', produce: 'samples/s', train: 'steps/s', eval: 'prompts/s' }[step.phase]
  const rate = `${figure(Number(perSecond.toPrecision(2)))} ${unit}`
  return step.total === null ? [rate] : [rate, `${duration((step.total - step.done) / perSecond)} left`]
}

function parts(body: EventBody): string[] {
  switch (body.event) {
    case 'claim.waiting':
      return [`watching whether another process still works in ${body.folder}`, `up to ${duration(body.seconds)}`]
    case 'nodes.waiting':
      return [`waiting for the other nodes: ${body.why}`, `up to ${duration(body.timeoutSeconds)}`]
    case 'nodes.joined':
      return [
        `${plural(body.nodes.length, 'node')} train together`,
        ...body.nodes.map(
          ({ node, host, ranks }) => `training node ${node} on ${printable(host)}: ${plural(ranks, 'rank')}`,
        ),
        `meeting at ${body.address}`,
      ]
    case 'rank.launched':
      return [
        `rank ${body.rank} of ${count(body.ranks)}, started by ${body.launcher}`,
        ...(body.restart > 0 ? [`start ${body.restart + 1}`] : []),
      ]
    case 'eval.started':
      return [`measuring tau on ${plural(body.prompts, 'held-out prompt')}`, `draft steps ${body.steps.join(', ')}`]
    case 'eval.prompt':
      return [`eval ${count(body.done)}/${count(body.total)}`]
    case 'eval.finished':
      return body.bySteps.map(({ steps, tau }) => `tau ${tau.toFixed(3)} at ${plural(steps, 'draft step')}`)
    default:
      return producedParts(body) ?? generatedParts(body) ?? trainParts(body)
  }
}

/** Events of earlier versions do not have the number. */
const inputsOf = (body: Extract<EventBody, { event: 'produce.progress' }>): number =>
  Math.max(body.inputs, body.samples + body.skipped)

function producedParts(body: EventBody): string[] | null {
  switch (body.event) {
    case 'produce.started':
      return [
        body.source === 'capture' ? 'loading the target, then capturing its features' : 'ingesting feature files',
        ...(body.part === undefined ? [] : [`part ${partText(body.part)}`]),
        ...maybe(body.total, 'input'),
      ]
    case 'produce.found':
      return [
        `layout ${body.layout}`,
        ...body.files.map(({ kind, files }) => [plural(files, 'file'), FILES_OF_KIND[kind]].join(' ').trim()),
        `last state ${body.finalNorm === 'pre' ? 'before' : 'after'} the final norm`,
        ...(body.masks === null ? [] : [`masks of ${body.masks}`]),
        ...body.leftOut.map(({ why, count: left, first }) => `left out: ${why} (${count(left)}), first ${first}`),
      ]
    case 'produce.progress':
      return [
        ...(body.total === null ? [] : [`inputs ${count(inputsOf(body))}/${count(body.total)}`]),
        `${plural(body.samples, 'sample')} stored`,
        `${count(body.tokens)} tokens`,
        bytes(body.bytes),
        ...some(body.skipped, 'skipped'),
        ...some(body.refused, 'refused'),
        ...some(body.cut, 'cut'),
      ]
    case 'produce.finished':
      return [
        `features ready: ${plural(body.samples, 'sample')}`,
        `${count(body.tokens)} tokens`,
        bytes(body.bytes),
        ...some(body.skipped, 'skipped'),
        ...some(body.refused, 'refused'),
        ...some(body.cut, 'cut'),
        ...some(body.resumed, 'from an earlier start'),
        ...some(body.linked, 'linked'),
        duration(body.seconds),
      ]
    case 'produce.refused':
      return [`${plural(body.samples, 'input')} refused: ${body.why}`, ...body.places].map(printable)
    case 'produce.copied':
      return [`${plural(body.samples, 'sample')} copied: ${body.why}`]
    default:
      return null
  }
}

const FILES_OF_KIND: Readonly<Record<string, string>> = {
  compressed: 'compressed, not looked into yet',
  unknown: 'of no known layout',
  unreadable: 'that cannot be read',
}

const some = (samples: number, what: string): string[] => (samples > 0 ? [`${count(samples)} ${what}`] : [])
const maybe = (total: number | null, unit: string): string[] => (total === null ? [] : [plural(total, unit)])
