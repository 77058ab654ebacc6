import type { DataHealth, MarkedSample, ShownSamples } from '../../core/data-health.ts'
import { coverageText, type HealthRow, healthRows, lengthLabel, sampleTitle, shareLabel } from '../health-words.ts'
import { printable } from '../printable.ts'
import { count, plural } from '../words.ts'
import { type BarChart, barChart } from './bar-chart.ts'
import { html, type Markup, nothing } from './html.ts'

/** What the samples that a run trains on are like: counts, histograms, and some of them as text. */
export function healthSection(health: DataHealth): Markup {
  const { shown } = health
  return html`${countsTable(health)}<div class="plots below">${charts(health).map(barChart)}</div>${shown === null ? nothing : samplesCard(shown)}`
}

function countsTable(health: DataHealth): Markup {
  const rows = healthRows(health).map(tableRow)
  const about = `The manifest of run ${health.run}, ${health.state}`
  return html`<div class="card"><table class="health"><caption>${about}</caption><thead><tr><th scope="col">What</th><th scope="col">Count</th><th scope="col">Meaning</th></tr></thead><tbody>${rows}</tbody></table></div>`
}

function tableRow({ name, figure, meaning, places }: HealthRow): Markup {
  const found = places.map((place) => html`<br><code>${printable(place)}</code>`)
  return html`<tr><th scope="row">${name}</th><td>${figure}</td><td>${printable(meaning)}${found}</td></tr>`
}

function charts({ lengths, trainedShares, vocabulary }: DataHealth): BarChart[] {
  return [
    {
      id: 'health-lengths',
      title: 'Tokens per sample',
      note: 'Samples by their number of tokens. Each bar covers twice the range of the one before it.',
      axis: 'tokens from',
      bars: lengths.map((bucket) => ({ label: short(bucket), value: bucket.samples })),
      format: count,
    },
    {
      id: 'health-shares',
      title: 'Trained share of a sample',
      note: 'Samples by the share of their tokens that is trained.',
      axis: 'trained tokens',
      bars: trainedShares.map((bucket) => ({ label: shareLabel(bucket), value: bucket.samples })),
      format: count,
    },
    ...(vocabulary === null
      ? []
      : [
          {
            id: 'health-vocabulary',
            title: 'Reach of a draft vocabulary',
            note: `Share of the ${count(vocabulary.trained)} tokens of answers, ${count(vocabulary.distinct)} different ones, that the most frequent tokens make up.`,
            axis: 'most frequent tokens',
            bars: vocabulary.coverage.map(({ tokens, share }) => ({ label: count(tokens), value: share })),
            format: coverageText,
            highest: 1,
          },
        ]),
  ]
}

const short = (bucket: { readonly from: number; readonly to: number }): string =>
  bucket.from >= 1024 ? count(bucket.from) : lengthLabel(bucket)

function samplesCard({ seed, samples, missing }: ShownSamples): Markup {
  const why = missing === null ? nothing : html`<p class="note">Not shown: ${printable(missing)}</p>`
  const about = html`<p class="lead">Random samples, seed ${seed}. What is trained is <mark>marked</mark>.</p>`
  return html`<section><h3>Samples</h3>${about}${why}${samples.map(sampleCard)}</section>`
}

function sampleCard({ sampleId, from, parts, more, ...sample }: MarkedSample): Markup {
  const text = parts.map(({ text, trained }) =>
    trained ? html`<mark>${printable(text)}</mark>` : html`${printable(text)}`,
  )
  const left = more > 0 ? html`<p class="note">${plural(more, 'more part')} not shown.</p>` : nothing
  return html`<details open class="card"><summary><code>${printable(sampleId)}</code> ${sampleTitle(sample)} <code>${printable(from)}</code></summary><pre tabindex="0">${text}</pre>${left}</details>`
}
