import type { DataHealth } from '../../core/data-health.ts'
import type { RunEvent } from '../events/events.ts'
import { type RunHistory, runHistory } from '../events/run-history.ts'
import { printable } from '../printable.ts'
import { chart } from './chart.ts'
import { healthSection } from './health-section.ts'
import { html, type Markup, nothing } from './html.ts'
import { curves, validationCurves } from './report-curves.ts'
import { STYLE } from './report-style.ts'
import { acceptanceTable, facts, memoryTable, runCounts, tauTable } from './report-tables.ts'

export interface ReportInput {
  readonly events: readonly RunEvent[]
  /** Lines of the events file that are not an event. The report shows them, because figures may be missing. */
  readonly unreadable: number
  /** The text of config.resolved.yaml, or null if the file does not exist. */
  readonly config: string | null
  /** What the samples of the manifest are like, or why it cannot be read; null where there is none. */
  readonly health?: DataHealth | string | null
}

const STYLE_MARKUP = html`<style>${nothing}</style>`.text.replace('</style>', () => `${STYLE}</style>`)

/** The text of `report.html`: a whole run on one page that needs no network and no script. */
export function reportHtml({ events, unreadable, config, health = null }: ReportInput): string {
  const history = runHistory(events)
  const isRead = health !== null && typeof health !== 'string'
  const title = `draftbridge run ${history.runId ?? ''}`.trim()
  const page = html`<main>
<header><h1>${title}</h1><p>${span(history.startedAt, history.endedAt)}</p></header>
${failure(history.failure)}
${facts(history)}
<section><h2>Training</h2><div class="plots">${curves(history.metrics).map(chart)}</div></section>
${validation(history)}
<section><h2>Tau and acceptance</h2>${history.evaluation === null ? html`<p class="lead">Not measured yet: run <code>draftbridge eval</code>.</p>` : html`<div class="pair">${tauTable(history.evaluation)}${acceptanceTable(history.evaluation)}</div>`}</section>
${memoryTable(history)}
<section><h2>Data</h2>${dataHealth(health)}${runCounts(history, unreadable, isRead)}</section>
${config === null ? nothing : html`<section><h2>Config</h2><div class="card"><pre tabindex="0">${config}</pre></div></section>`}
<footer>All figures come from <code>events.ndjson</code> in the folder of this file${isRead ? html` and from the manifest` : nothing}.</footer>
</main>`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
${html`<title>${title}</title>`.text}
${STYLE_MARKUP}
</head>
<body>
${page.text}
</body>
</html>
`
}

function span(from: number | null, to: number | null): string {
  if (from === null || to === null) return 'No events yet.'
  const time = (at: number) => new Date(at).toISOString().replace('T', ' ').slice(0, 16)
  return `${time(from)} to ${time(to)} UTC`
}

function dataHealth(health: DataHealth | string | null): Markup {
  if (health === null) return nothing
  if (typeof health !== 'string') return healthSection(health)
  return html`<p class="note">The manifest cannot be shown: ${printable(health)}</p>`
}

function validation({ validations }: RunHistory): Markup {
  if (validations.length === 0) return nothing
  return html`<section><h2>Validation</h2><div class="plots">${validationCurves(validations).map(chart)}</div></section>`
}

function failure(failed: { code: string; message: string } | null): Markup {
  if (failed === null) return nothing
  return html`<div class="card" role="alert"><strong class="bad">${failed.code}</strong><pre>${failed.message}</pre></div>`
}
