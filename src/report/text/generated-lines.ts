import { partText } from '../../core/part.ts'
import type { EventBody } from '../events/events.ts'
import type { Generated } from '../events/run-history.ts'
import { printable } from '../printable.ts'
import { count, duration, figure, plural } from '../words.ts'
import type { Row } from './training-summary.ts'

/** The parts of the line about an event of `generate`; null for another event. */
export function generatedParts(body: EventBody): string[] | null {
  switch (body.event) {
    case 'generate.started':
      return [
        'the target writes conversations',
        ...(body.part === undefined ? [] : [`part ${partText(body.part)}`]),
        plural(body.total, 'input'),
      ]
    case 'generate.progress':
      return [
        `conversations ${count(body.written)} written of ${count(body.total)}`,
        `${count(body.tokens)} tokens`,
        ...(body.leftOut > 0 ? [`${count(body.leftOut)} left out`] : []),
        ...(body.refused > 0 ? [`${count(body.refused)} refused`] : []),
      ]
    case 'generate.finished':
      return [`conversations ready: ${plural(body.written, 'conversation')}`, duration(body.seconds)]
    default:
      return null
  }
}

const placesText = (places: readonly string[]): string => places.slice(0, 3).join(', ') || '?'

export function generatedRows(generated: Generated | null): Row[] {
  if (generated === null) return []
  const { written, resumed, answers, tokens, tokensPerSecond, leftOut, refused, out } = generated
  const rate = `${count(tokens)} tokens in ${plural(answers, 'answer')} at ${figure(tokensPerSecond)} tokens/s`
  const remarks = [
    resumed > 0 ? `${plural(resumed, 'conversation')} of an earlier start` : '',
    ...leftOut.map(
      ({ why, count: left, places }) => `${plural(left, 'conversation')} left out: ${why} (${placesText(places)})`,
    ),
    ...refused.map(({ why, count: bad, places }) => `${plural(bad, 'input')} refused: ${why} (${placesText(places)})`),
  ].filter((text) => text !== '')
  return [
    ['written', `${plural(written, 'conversation')}, ${rate}`],
    ...remarks.map((text): Row => ['', printable(text)]),
    ['file', out],
  ]
}
