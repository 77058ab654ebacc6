import type { RunEvent } from '../events/events.ts'
import { type Evaluation, type RunHistory, runHistory } from '../events/run-history.ts'
import { bytes, count, figure, plural } from '../words.ts'
import { type Row, training } from './training-summary.ts'

export interface SummaryPlaces {
  readonly report?: string
  readonly draft?: string
  /** What the figures alone would leave a reader to wonder about. */
  readonly note?: string
  /** The command a reader is most likely to want next. */
  readonly next?: string
}

/** A run in a few lines of text: what went in, what was learnt, how fast, and where it lies. */
export function summaryText(events: readonly RunEvent[], places: SummaryPlaces = {}): string {
  const history = runHistory(events)
  const draft = places.draft ?? history.trained?.checkpoint
  const rows: Row[] = [
    ...features(history),
    ...training(history),
    ...lost(history),
    ...evaluation(history.evaluation),
    ...(history.failure === null
      ? []
      : [['stopped', `${history.failure.code}: ${history.failure.message.split('\n')[0]}`] as [string, string]]),
    ...(places.note === undefined ? [] : [['note', places.note] as [string, string]]),
    ...(draft === undefined ? [] : [['draft', draft] as [string, string]]),
    ...(places.report === undefined ? [] : [['report', places.report] as [string, string]]),
    ...(places.next === undefined ? [] : [['next', places.next] as [string, string]]),
  ]
  return rows.map(([name, text]) => `  ${name.padEnd(9)} ${text}`).join('\n')
}

function features({ produced, trainStarted }: RunHistory): Row[] {
  if (produced === null) return []
  const { samples, tokens, skipped, cut, lossTokens } = produced
  const { samples: trained = samples, heldOut = 0 } = trainStarted ?? {}
  const size = `${plural(samples, 'sample')}, ${count(tokens)} tokens (${count(lossTokens)} with a loss), ${bytes(produced.bytes)}`
  const lost = [
    skipped > 0 ? `${plural(skipped, 'sample')} skipped: not one token to train on` : '',
    cut > 0 ? `${plural(cut, 'sample')} cut at data.maxLength` : '',
    heldOut > 0 ? `${plural(trained, 'sample')} trained on, ${count(heldOut)} held out` : '',
  ].filter((text) => text !== '')
  return [['features', size], ...lost.map((text): Row => ['', text])]
}

function lost({ lost }: RunHistory): Row[] {
  if (lost.length === 0) return []
  const named = lost.slice(0, 3).map(({ sampleId, quarantined }) => `${sampleId}${quarantined ? ' (quarantined)' : ''}`)
  const rest = lost.length > named.length ? ` and ${count(lost.length - named.length)} more` : ''
  return [['lost', `${plural(lost.length, 'sample')} could not be read: ${named.join(', ')}${rest}`]]
}

function evaluation(result: Evaluation | null): Row[] {
  if (result === null) return []
  const tau = result.bySteps.map(({ steps, tau }) => `${tau.toFixed(3)} at ${plural(steps, 'step')}`).join(', ')
  const same = result.lossless
    ? 'output ids equal plain greedy decoding'
    : 'output ids DIFFER from plain greedy decoding: do not trust this draft before you know why'
  return [
    ['tau', `${tau} (${plural(result.prompts, 'held-out prompt')})`],
    ['', `of the draft ${result.draft}`],
    ['lossless', same],
    ['speed-up', speedUp(result)],
  ]
}

/** Wall clock, as measured here. Below 1 it says so: tau is what carries over to a bigger target. */
export function speedUp(result: Evaluation): string {
  const [best] = result.bySteps.toSorted((a, b) => b.tokensPerSecond - a.tokensPerSecond)
  if (best === undefined || result.plainTokensPerSecond <= 0) return 'not measured'
  const factor = best.tokensPerSecond / result.plainTokensPerSecond
  const figures = `${figure(best.tokensPerSecond)} against ${figure(result.plainTokensPerSecond)} tokens/s`
  const measured = `${factor.toFixed(2)}x at ${plural(best.steps, 'step')} (${figures})`
  if (factor >= 1.05) return measured
  return `${measured}: no gain on this machine; a small target on a CPU is too cheap to save on. tau carries over, the clock does not`
}
