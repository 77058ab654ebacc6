import type { DataHealth } from '../core/data-health.ts'
import { count, percent, plural } from './words.ts'

/** A count of the data: its name, its figure, what it means, and the first places of what is bad. */
export interface HealthRow {
  readonly name: string
  readonly figure: string
  readonly meaning: string
  readonly places: readonly string[]
}

const row = (name: string, figure: string, meaning: string, places: readonly string[] = []): HealthRow => ({
  name,
  figure,
  meaning,
  places,
})

/** What became of the inputs, as the report and the terminal show it. */
export function healthRows(health: DataHealth): HealthRow[] {
  const { produced, samples, tokens, trainedTokens, cut } = health
  const share = tokens > 0 ? ` (${percent(trainedTokens / tokens)})` : ''
  const used = row('Used', count(samples), `samples: ${count(tokens)} tokens, ${count(trainedTokens)} trained${share}`)
  const longer = "samples longer than data.maxLength or the target's positions; their first tokens are used"
  const shortened = row('Cut', count(cut), longer, produced?.cutPlaces)
  if (produced === null) return [used, shortened]
  return [...inputRows(produced), used, shortened, ...refusedRows(produced)]
}

type Produced = NonNullable<DataHealth['produced']>

function inputRows({ inputs, total, whole }: Produced): HealthRow[] {
  const came = whole ? 'conversations or files' : `of ${count(total)} so far`
  return [row('Inputs', count(inputs), came)]
}

function refusedRows(produced: Produced): HealthRow[] {
  const { empty, emptyCut, refused, reasons, notFinite, duplicates } = produced
  const lost = emptyCut > 0 ? `; ${count(emptyCut)} of them were cut before their first one` : ''
  const repeats = 'samples with the ids and the mask of an earlier one; they are used all the same'
  return [
    row('Skipped', count(empty), `samples without a trained token; not stored${lost}`, produced.emptyPlaces),
    row('Repeats', count(duplicates.samples), repeats, duplicates.places),
    row('Refused', count(refused), 'inputs that are bad; not stored'),
    ...reasons.map(({ why, samples, places }) => row('- because', count(samples), why, places)),
    ...notFinite.map(({ state, samples, places }) =>
      row('NaN or Inf', count(samples), `refused samples, first in ${state}`, places),
    ),
  ]
}

/** Of a bucket of lengths: `512 to 1,023`. */
export const lengthLabel = ({ from, to }: { readonly from: number; readonly to: number }): string =>
  from === to - 1 ? count(from) : `${count(from)} to ${count(to - 1)}`

/** Of a bucket of shares: `40 to 49 %`. */
export const shareLabel = ({ from, to }: { readonly from: number; readonly to: number }): string =>
  `${from} to ${to - 1} %`

/** A share that is not quite everything is not shown as 100 %. */
export function coverageText(share: number): string {
  const text = (share * 100).toFixed(2)
  return share < 1 && text === '100.00' ? '99.99 %' : `${text} %`
}

export const sampleTitle = ({ tokens, trained }: { readonly tokens: number; readonly trained: number }): string =>
  `${plural(tokens, 'token')}, ${count(trained)} trained`
