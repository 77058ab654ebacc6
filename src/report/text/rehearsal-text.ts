import type { EventBody } from '../events/events.ts'
import { count, figure, plural } from '../words.ts'
import { memoryLines } from './memory-text.ts'

type Rehearsal = Extract<EventBody, { event: 'train.rehearsed' }>

/** What a dry run found, in a few lines. */
export function rehearsalText(found: Rehearsal | null, next: string): string {
  if (found === null) return lines([['dry run', 'this run is finished: there is no next step to make']])
  const { ploss, memory } = found
  const [peak, ...parts] = memoryLines(memory, found.ranks)
  const seconds = (value: number) => `${value.toFixed(1)} s`
  const made = `step ${count(found.step)} of ${count(found.totalSteps)} on ${plural(found.ranks, 'rank')}`
  const trained = `${count(found.tokens)} (${count(found.lossTokens)} trained on)`
  return lines([
    ['dry run', `${made}: it works, and nothing of it was kept`],
    ['loss', `${figure(found.loss)}, by draft position ${ploss.map(figure).join(' ')}`],
    ['gradient', `norm ${figure(found.gradNorm)} before clipping`],
    ['tokens', `${trained} in ${plural(found.microSteps, 'micro-step')}`],
    ['memory', peak],
    ...parts.map((part) => ['', part] as const),
    [
      'time',
      `start ${seconds(found.startSeconds)}, first batch ${seconds(found.loadSeconds)}, step ${seconds(found.stepSeconds)}`,
    ],
    ['next', next],
  ])
}

const lines = (rows: readonly (readonly [string, string])[]): string =>
  rows.map(([name, text]) => `  ${name.padEnd(9)} ${text}`).join('\n')
