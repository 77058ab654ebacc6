import type { EventBody } from './events.ts'

type Of<K extends EventBody['event']> = Extract<EventBody, { event: K }>
export type Figures = Omit<Of<'produce.progress'>, 'event' | 'total' | 'part'>
export type Refused = Pick<Of<'produce.refused'>, 'why' | 'samples' | 'places'>

/** Places that are named for each reason. */
export const NAMED_PLACES = 5

export const NO_FIGURES: Figures = {
  ...{ inputs: 0, samples: 0, skipped: 0, refused: 0, cut: 0, resumed: 0, linked: 0, repeats: 0 },
  ...{ tokens: 0, lossTokens: 0, bytes: 0 },
}

/** The figures of all parts together. */
export function sumFigures(parts: Iterable<Figures>): Figures {
  const sum: Record<keyof Figures, number> = { ...NO_FIGURES }
  for (const part of parts) for (const name of FIGURES) sum[name] += part[name]
  return sum
}
const FIGURES = Object.keys(NO_FIGURES) as (keyof Figures)[]

const byNumbers = new Intl.Collator('en', { numeric: true }).compare

/** Each reason once, with the first places that any part has named; most frequent first. */
export function mergeRefused(all: Iterable<Refused>): readonly Refused[] {
  const kinds = new Map<string, { samples: number; places: string[] }>()
  for (const { why, samples, places } of all) {
    const kind = kinds.get(why) ?? { samples: 0, places: [] }
    kind.samples += samples
    kind.places.push(...places)
    kinds.set(why, kind)
  }
  return [...kinds]
    .map(([why, { samples, places }]) => ({ why, samples, places: places.sort(byNumbers).slice(0, NAMED_PLACES) }))
    .sort((a, b) => b.samples - a.samples)
}

type Produced = Of<'produce.progress'> | Of<'produce.finished'>

const isProduced = (body: EventBody): body is Produced =>
  body.event === 'produce.finished' || body.event === 'produce.progress'

/** What the producers have made so far: the last event; where it is about a part, the sum over the last ones of all parts. */
export function producedOf(bodies: readonly EventBody[]): Produced | null {
  const last = bodies.findLast(isProduced)
  if (last?.part === undefined) return last ?? null
  const latest = new Map<number, Produced>()
  for (const body of bodies.filter(isProduced)) {
    if (body.part?.count === last.part.count) latest.set(body.part.index, body)
  }
  return { event: 'produce.progress', total: null, ...sumFigures(latest.values()) }
}

/** Bad inputs of the last start of the producer, or of those of all parts, by kind. */
export function refusedIn(bodies: readonly EventBody[]): readonly Of<'produce.refused'>[] {
  const refused = bodies.findLast((body) => body.event === 'produce.refused')
  if (refused?.event !== 'produce.refused') return []
  if (refused.part === undefined) return ofLastStart(bodies, undefined)
  const { count } = refused.part
  const parts = Array.from({ length: count }, (_, index) => ofLastStart(bodies, { index, count }))
  return mergeRefused(parts.flat()).map((kind) => ({ event: 'produce.refused', ...kind }))
}

function ofLastStart(bodies: readonly EventBody[], part: Of<'produce.refused'>['part']): Of<'produce.refused'>[] {
  const own = bodies.filter((body) => {
    const isOfProducer = body.event === 'produce.refused' || body.event === 'produce.started'
    return isOfProducer && body.part?.index === part?.index && body.part?.count === part?.count
  })
  // A start that finds everything produced refuses nothing again, so the last start that did counts.
  const last = own.findLastIndex((body) => body.event === 'produce.refused')
  const begun = own.slice(0, last + 1).findLastIndex((body) => body.event === 'produce.started')
  return own.slice(Math.max(begun, 0)).filter((body) => body.event === 'produce.refused')
}
