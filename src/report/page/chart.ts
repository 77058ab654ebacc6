import { count, figure } from '../words.ts'
import { html, type Markup, nothing } from './html.ts'
import { linear, type Scale } from './scale.ts'

export interface Series {
  readonly name: string
  /** One value per x. Null: nothing was measured, and the line has a gap. */
  readonly values: readonly (number | null)[]
}

export interface Chart {
  readonly id: string
  readonly title: string
  /** One sentence that says how to read the chart. */
  readonly note: string
  readonly xs: readonly number[]
  readonly series: readonly Series[]
  readonly format?: (value: number | null) => string
  /** The y axis starts at zero: for shares and rates, whose height has a meaning. */
  readonly fromZero?: boolean
}

const SIZE = { width: 560, height: 250, left: 52, right: 74, top: 12, bottom: 34 }
/** The least distance between two labels. */
const LABEL_DISTANCE = 14

/** A plot with its title, its note, and its figures as a table. */
export function chart(plot: Chart): Markup {
  const caption = html`<figcaption><h3 id="${plot.id}">${plot.title}</h3><p>${plot.note}</p></figcaption>`
  if (!plot.series.some(({ values }) => values.some((value) => value !== null))) {
    return html`<figure>${caption}<p class="empty">Nothing measured yet.</p></figure>`
  }
  return html`<figure>${caption}${drawing(plot)}${figures(plot)}</figure>`
}

function drawing(plot: Chart): Markup {
  const { width, height, left, right, top, bottom } = SIZE
  const x = linear(plot.xs, [left, width - right], false)
  const y = linear(valuesOf(plot), [height - bottom, top], true)
  const colour = (index: number) => colourOf(index, plot.series.length)
  const lines = plot.series.map(
    (series, index) => html`<g style="--c:${colour(index)}">${line(series, plot, x, y)}</g>`,
  )
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${plot.id}">${grid(x, y, plot)}${lines}${endLabels(plot, y)}</svg>`
}

function valuesOf({ series, fromZero }: Chart): number[] {
  const measured = series.flatMap(({ values }) => values.filter((value) => value !== null))
  return fromZero === true ? [0, ...measured] : measured
}

function grid(x: Scale, y: Scale, { format = figure }: Chart): Markup {
  const { width, height, left, right, bottom } = SIZE
  const base = height - bottom
  const rows = y.ticks.map((tick) => {
    const at = y.at(tick).toFixed(1)
    return html`<line class="grid" x1="${left}" x2="${width - right}" y1="${at}" y2="${at}"/><text class="tick" x="${left - 8}" y="${at}" dy="0.32em" text-anchor="end">${format(tick)}</text>`
  })
  const columns = x.ticks
    .filter((tick) => Number.isInteger(tick))
    .map(
      (tick) =>
        html`<text class="tick" x="${x.at(tick).toFixed(1)}" y="${base + 16}" text-anchor="middle">${count(tick)}</text>`,
    )
  const name = html`<text class="tick" x="${width - right}" y="${base + 30}" text-anchor="end">optimiser step</text>`
  return html`<g aria-hidden="true">${rows}${columns}${name}</g>`
}

function line(series: Series, { xs, format = figure }: Chart, x: Scale, y: Scale): Markup {
  const points = series.values.flatMap((value, index) => {
    const at = xs[index]
    return value === null || at === undefined ? [] : [{ index, at, value }]
  })
  const path = points
    .map(({ index, at, value }, order) => {
      const joined = order > 0 && points[order - 1]?.index === index - 1
      return `${joined ? 'L' : 'M'}${x.at(at).toFixed(1)} ${y.at(value).toFixed(1)}`
    })
    .join('')
  const dots = points.map(({ at, value }) => {
    return html`<circle cx="${x.at(at).toFixed(1)}" cy="${y.at(value).toFixed(1)}" r="5"><title>${series.name}, step ${count(at)}: ${format(value)}</title></circle>`
  })
  // The hover texts of more points would overlap and make the file large.
  return html`<path class="line" d="${path}"/>${points.length <= 400 ? dots : nothing}`
}

/** The name of each line at its right end, moved apart where lines end close together. */
function endLabels({ series, format = figure }: Chart, y: Scale): Markup {
  const ends = series
    .map(({ name, values }, index) => ({ name, index, last: values.findLast((value) => value !== null) ?? null }))
    .flatMap(({ name, index, last }) => (last === null ? [] : [{ name, index, last, at: y.at(last) }]))
    .sort((a, b) => a.at - b.at)
  const spots = movedApart(ends.map(({ at }) => at))
  const texts = ends.map(({ name, index, last }, order) => {
    const label = series.length === 1 ? format(last) : `${name}  ${format(last)}`
    return html`<text class="end" style="--c:${colourOf(index, series.length)}" x="${SIZE.width - SIZE.right + 8}" y="${(spots[order] ?? 0).toFixed(1)}" dy="0.32em">${label}</text>`
  })
  return html`<g aria-hidden="true">${texts}</g>`
}

function movedApart(wanted: readonly number[]): number[] {
  const spots: number[] = []
  for (const at of wanted) spots.push(Math.max(at, (spots.at(-1) ?? Number.NEGATIVE_INFINITY) + LABEL_DISTANCE))
  const over = (spots.at(-1) ?? 0) - (SIZE.height - SIZE.bottom)
  if (over <= 0) return spots
  // Labels below the plot move up again, the lowest first, each only as far as necessary.
  for (let index = spots.length - 1, limit = SIZE.height - SIZE.bottom; index >= 0; index--, limit -= LABEL_DISTANCE) {
    spots[index] = Math.min(spots[index] ?? 0, limit)
  }
  return spots
}

/** Draft positions have an order, so their colours are one hue from strong to faint. A single line has the accent colour. */
function colourOf(index: number, of: number): string {
  const faint = of <= 1 ? 0 : (index / (of - 1)) * 62
  return `color-mix(in oklab, var(--accent) ${(100 - faint).toFixed(0)}%, var(--far))`
}

function figures({ title, xs, series, format = figure }: Chart): Markup {
  const heads = series.map(({ name }) => html`<th scope="col">${name}</th>`)
  const rows = xs.map((step, index) => {
    const cells = series.map(({ values }) => html`<td>${format(values[index] ?? null)}</td>`)
    return html`<tr><th scope="row">${count(step)}</th>${cells}</tr>`
  })
  return html`<details><summary>Figures</summary><div class="scroll" tabindex="0"><table><caption>${title}</caption><thead><tr><th scope="col">step</th>${heads}</tr></thead><tbody>${rows}</tbody></table></div></details>`
}
