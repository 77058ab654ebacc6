import type { RunEvent } from '../events/events.ts'
import { type Evaluation, type RunHistory, runHistory } from '../events/run-history.ts'
import { printable } from '../printable.ts'
import { bytes, count, figure, plural } from '../words.ts'
import { generatedRows } from './generated-lines.ts'
import { type Row, training } from './training-summary.ts'

/** Lines at the end of the summary: where the results are, and what to do next. */
export interface SummaryHints {
  readonly report?: string
  readonly draft?: string
  /** A remark that the figures need. */
  readonly note?: string
  /** The most likely next command. */
  readonly next?: string
}

const SHOWN_PLACES = 3

/** A run in a few lines: its data, its training figures, its evaluation, and where the results are. */
export function summaryText(events: readonly RunEvent[], hints: SummaryHints = {}): string {
  const history = runHistory(events)
  const draft = hints.draft ?? history.trained?.checkpoint
  const rows: Row[] = [
    ...generatedRows(history.generated),
    ...features(history),
    ...training(history),
    ...lost(history),
    ...evaluation(history.evaluation),
    ...(history.failure === null
      ? []
      : [['stopped', `${history.failure.code}: ${history.failure.message.split('\n')[0]}`] as [string, string]]),
    ...(hints.note === undefined ? [] : [['note', hints.note] as [string, string]]),
    ...(draft === undefined ? [] : [['draft', draft] as [string, string]]),
    ...(hints.report === undefined ? [] : [['report', hints.report] as [string, string]]),
    ...(hints.next === undefined ? [] : [['next', hints.next] as [string, string]]),
  ]
  return rows.map(([name, text]) => `  ${name.padEnd(9)} ${text}`).join('\n')
}

function features({ produced, refused, trainStarted }: RunHistory): Row[] {
  if (produced === null) return []
  const { samples, tokens, skipped, cut, lossTokens, repeats } = produced
  const { samples: trained = samples, heldOut = 0 } = trainStarted ?? {}
  const size = `${plural(samples, 'sample')}, ${count(tokens)} tokens (${count(lossTokens)} trained), ${bytes(produced.bytes)}`
  const remarks = [
    skipped > 0 ? `${plural(skipped, 'sample')} skipped: no trained token` : '',
    ...refused.map(({ samples, why, places }) =>
      printable(`${plural(samples, 'input')} refused: ${why} (${places.slice(0, SHOWN_PLACES).join(', ') || '?'})`),
    ),
    repeats > 0 ? `${plural(repeats, 'sample')} with the ids and the mask of an earlier one; used all the same` : '',
    cut > 0 ? `${plural(cut, 'sample')} cut at data.maxLength or the target's positions` : '',
    heldOut > 0 ? `${plural(trained, 'sample')} for training, ${count(heldOut)} held out for validation` : '',
  ].filter((text) => text !== '')
  return [['features', size], ...remarks.map((text): Row => ['', text])]
}

function lost({ lost }: RunHistory): Row[] {
  if (lost.length === 0) return []
  const named = lost.slice(0, 3).map(({ sampleId, quarantined }) => `${sampleId}${quarantined ? ' (quarantined)' : ''}`)
  const rest = lost.length > named.length ? ` and ${count(lost.length - named.length)} more` : ''
  return [['lost', `${plural(lost.length, 'sample')} could not be read: ${named.join(', ')}${rest}`]]
}

function evaluation(result: Evaluation | null): Row[] {
  if (result === null) return []
  const tau = result.bySteps.map(({ steps, tau }) => `${tau.toFixed(3)} at ${plural(steps, 'draft step')}`).join(', ')
  const same = result.lossless
    ? 'output ids equal plain greedy decoding'
    : 'output ids DIFFER from plain greedy decoding: find the cause before you use this draft'
  return [
    ['tau', `${tau} (${plural(result.prompts, 'held-out prompt')})`],
    ['', `draft ${result.draft}`],
    ['lossless', same],
    ['speed-up', speedUp(result)],
  ]
}

/** Below it, hardly a draft token is taken: the draft is the reason, not the machine. */
const LOW_TAU = 1.2

/** The wall-clock speed-up on this machine. When there is none, the text says why: only tau holds for another target. */
export function speedUp(result: Evaluation): string {
  const [best] = result.bySteps.toSorted((a, b) => b.tokensPerSecond - a.tokensPerSecond)
  if (best === undefined || result.plainTokensPerSecond <= 0) return 'not measured'
  const factor = best.tokensPerSecond / result.plainTokensPerSecond
  const figures = `${figure(best.tokensPerSecond)} against ${figure(result.plainTokensPerSecond)} tokens/s`
  const measured = `${factor.toFixed(2)}x at ${plural(best.steps, 'draft step')} (${figures})`
  if (factor >= 1.05) return measured
  if (best.tau < LOW_TAU)
    return `${measured}: no gain, because the target takes too few draft tokens; train on more data or for longer`
  return `${measured}: no gain on this machine, as expected for a small target on a CPU. Tau holds on other machines, the speed-up does not`
}
