import type { DataHealth, MarkedSample, ShownSamples } from '../../core/data-health.ts'
import { coverageText, type HealthRow, healthRows, lengthLabel, sampleTitle, shareLabel } from '../health-words.ts'
import { oneLine, printable } from '../printable.ts'
import { count, plural } from '../words.ts'
import { barRows, fewBuckets } from './bars.ts'

const WIDTH = 80
const NAME = 12
const PLACE = ' '.repeat(4)
const PLACE_WIDTH = WIDTH - PLACE.length
const INDENT = ' '.repeat(NAME + 1)

/** What the samples of a manifest are like, in lines of at most 80 characters. Plain characters, but for texts of users. */
export function healthText(health: DataHealth): string {
  const figure = Math.max(...healthRows(health).map(({ figure }) => figure.length))
  const lines = [
    ...healthRows(health).flatMap((row) => countLines(row, figure)),
    ...lengths(health),
    ...trainedShares(health),
    ...vocabulary(health),
    ...(health.shown === null ? [] : shownLines(health.shown)),
  ]
  return lines.join('\n')
}

function countLines({ name, figure, meaning, places }: HealthRow, width: number): string[] {
  const head = `${lowerFirst(name).padEnd(NAME)} ${figure.padStart(width)}  `
  const rest = ' '.repeat(NAME + width + 3)
  const [first = '', ...others] = wrapped(oneLine(meaning, 400), WIDTH - rest.length)
  return [
    head + first,
    ...others.map((line) => rest + line),
    ...places.flatMap((place) => wrapped(oneLine(place, 2 * PLACE_WIDTH), PLACE_WIDTH).map((line) => PLACE + line)),
  ]
}

/** Names of the report begin with a capital; NaN keeps its own. */
const lowerFirst = (name: string): string => (name.startsWith('NaN') ? name : name.toLowerCase())

function lengths({ lengths }: DataHealth): string[] {
  const bars = fewBuckets(lengths).map((bucket) => ({ label: lengthLabel(bucket), value: bucket.samples }))
  return named('tokens each', barRows(bars))
}

function trainedShares({ trainedShares }: DataHealth): string[] {
  if (trainedShares.every(({ samples }) => samples === 0)) return []
  const bars = trainedShares.map((bucket) => ({ label: shareLabel(bucket), value: bucket.samples }))
  return named('trained', barRows(bars))
}

function vocabulary({ vocabulary }: DataHealth): string[] {
  if (vocabulary === null) return []
  const bars = vocabulary.coverage.map(({ tokens, share }) => {
    return { label: count(tokens), value: share, shown: coverageText(share) }
  })
  const about = `${count(vocabulary.trained)} tokens of answers, ${count(vocabulary.distinct)} different ones;`
  const head = [`${'vocabulary'.padEnd(NAME)} ${about}`, `${INDENT}covered by the most frequent`]
  return [...head, ...barRows(bars, 1).map((row) => INDENT + row)]
}

const named = (name: string, rows: readonly string[]): string[] =>
  rows.map((row, index) => `${(index === 0 ? name : '').padEnd(NAME)} ${row}`)

/** Trained text stands between `>>` and `<<`. */
function shownLines({ seed, samples, missing }: ShownSamples): string[] {
  const about = `${plural(samples.length, 'sample')}, seed ${seed}; trained tokens stand between >> and <<`
  return [
    `${'samples'.padEnd(NAME)} ${about}`,
    ...(missing === null
      ? []
      : wrapped(oneLine(`not shown: ${missing}`, 400), WIDTH - 13).map((line) => INDENT + line)),
    ...samples.flatMap(sampleLines),
  ]
}

function sampleLines({ sampleId, from, parts, more, ...sample }: MarkedSample): string[] {
  const text = parts.map(({ text, trained }) => (trained ? `>>${printable(text)}<<` : printable(text))).join('')
  const left = more > 0 ? [`[... ${plural(more, 'more part')} ...]`] : []
  const source = from === '' ? [] : [`  from ${oneLine(from, WIDTH - 7)}`]
  const lines = text.split('\n').flatMap((line) => wrapped(line, WIDTH - 2))
  return [
    '',
    oneLine(`${sampleId}: ${sampleTitle(sample)}`, WIDTH),
    ...source,
    ...[...lines, ...left].map((l) => `  ${l}`.trimEnd()),
  ]
}

/** Lines of at most `width` characters, broken at blanks where there are some. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let signs = Array.from(text)
  while (signs.length > width) {
    const blank = signs.slice(0, width + 1).lastIndexOf(' ')
    const end = blank > width / 2 ? blank : width
    lines.push(signs.slice(0, end).join(''))
    signs = signs.slice(signs[end] === ' ' ? end + 1 : end)
  }
  return [...lines, signs.join('')]
}
