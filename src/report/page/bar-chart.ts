import { html, type Markup, nothing } from './html.ts'
import { linear } from './scale.ts'

export interface BarChart {
  readonly id: string
  readonly title: string
  /** One sentence that says how to read the chart. */
  readonly note: string
  /** What the bars are of, below them. */
  readonly axis: string
  readonly bars: readonly { readonly label: string; readonly value: number }[]
  readonly format: (value: number) => string
  /** Where the scale ends. Default: behind the highest bar. */
  readonly highest?: number
}

const SIZE = { width: 560, height: 250, left: 62, right: 12, top: 12, bottom: 48 }
/** Of a bar's place, the rest is the gap to the next one. */
const FILLED = 0.78
/** More labels than these would overlap. */
const MAX_LABELS = 6

/** Bars with a title, a note, and their figures as a table. */
export function barChart(plot: BarChart): Markup {
  const caption = html`<figcaption><h3 id="${plot.id}">${plot.title}</h3><p>${plot.note}</p></figcaption>`
  if (plot.bars.length === 0) return html`<figure>${caption}<p class="empty">Nothing counted yet.</p></figure>`
  return html`<figure>${caption}${drawing(plot)}${figures(plot)}</figure>`
}

function drawing({ id, axis, bars, format, highest }: BarChart): Markup {
  const { width, height, left, right, top, bottom } = SIZE
  const base = height - bottom
  const y = linear([0, highest ?? Math.max(...bars.map(({ value }) => value))], [base, top], true)
  const place = (width - left - right) / bars.length
  const every = Math.ceil(bars.length / MAX_LABELS)
  const shapes = bars.map(({ label, value }, index) => {
    const x = left + index * place + ((1 - FILLED) / 2) * place
    const at = y.at(value)
    const middle = (left + (index + 0.5) * place).toFixed(1)
    const text = html`<text class="tick" x="${middle}" y="${base + 16}" text-anchor="middle">${label}</text>`
    return html`<rect class="bar" x="${x.toFixed(1)}" y="${at.toFixed(1)}" width="${(FILLED * place).toFixed(1)}" height="${Math.max(0, base - at).toFixed(1)}"><title>${label}: ${format(value)}</title></rect>${index % every === 0 ? text : nothing}`
  })
  const rows = y.ticks.map((tick) => {
    const at = y.at(tick).toFixed(1)
    return html`<line class="grid" x1="${left}" x2="${width - right}" y1="${at}" y2="${at}"/><text class="tick" x="${left - 8}" y="${at}" dy="0.32em" text-anchor="end">${format(tick)}</text>`
  })
  const name = html`<text class="tick" x="${width - right}" y="${base + 36}" text-anchor="end">${axis}</text>`
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}"><g aria-hidden="true">${rows}${name}</g>${shapes}</svg>`
}

function figures({ title, axis, bars, format }: BarChart): Markup {
  const rows = bars.map(({ label, value }) => html`<tr><th scope="row">${label}</th><td>${format(value)}</td></tr>`)
  return html`<details><summary>Figures</summary><div class="scroll" tabindex="0"><table><caption>${title}</caption><thead><tr><th scope="col">${axis}</th><th scope="col">value</th></tr></thead><tbody>${rows}</tbody></table></div></details>`
}
