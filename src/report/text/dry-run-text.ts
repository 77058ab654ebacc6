import type { EventBody } from '../events/events.ts'
import { count, figure, plural } from '../words.ts'
import { memoryLines } from './memory-text.ts'

type DryRunResult = Extract<EventBody, { event: 'train.rehearsed' }>

/** A dry run in a few lines. `result`: null when the run is finished. `next`: the command to run next. */
export function dryRunText(result: DryRunResult | null, next: string): string {
  if (result === null) return lines([['dry run', 'this run is already finished, so there is no next step to try']])
  const { ploss, memory } = result
  const [peak, ...parts] = memoryLines(memory, result.ranks)
  const seconds = (value: number) => `${value.toFixed(1)} s`
  const step = `step ${count(result.step)} of ${count(result.totalSteps)} on ${plural(result.ranks, 'rank')}`
  const tokens = `${count(result.tokens)} (${count(result.lossTokens)} trained)`
  return lines([
    ['dry run', `${step} works; nothing was written to disk`],
    ['loss', `${figure(result.loss)}, by draft position ${ploss.map(figure).join(' ')}`],
    ['gradient', `norm ${figure(result.gradNorm)} before clipping`],
    ['tokens', `${tokens} in ${plural(result.microSteps, 'micro-step')}`],
    ['memory', peak],
    ...parts.map((part) => ['', part] as const),
    ['', 'of these tokens; a step with longer samples needs more'],
    [
      'time',
      `start ${seconds(result.startSeconds)}, first batch ${seconds(result.loadSeconds)}, step ${seconds(result.stepSeconds)}`,
    ],
    ['next', next],
  ])
}

const lines = (rows: readonly (readonly [string, string])[]): string =>
  rows.map(([name, text]) => `  ${name.padEnd(9)} ${text}`).join('\n')
