import { PLACES, type ProducedHealth } from '../../core/produced-health.ts'

/** What the producers of `count` parts counted together; null if none of them has said anything. */
export function joinedHealth(count: number, parts: readonly (ProducedHealth | null)[]): ProducedHealth | null {
  const known = parts.filter((part) => part !== null)
  if (known.length === 0) return null
  const sum = (of: (part: ProducedHealth) => number) => known.reduce((total, part) => total + of(part), 0)
  return {
    version: 1,
    inputs: sum(({ inputs }) => inputs),
    total: sum(({ total }) => total),
    whole: known.length === count && known.every(({ whole }) => whole),
    empty: sum(({ empty }) => empty),
    emptyCut: sum(({ emptyCut }) => emptyCut),
    emptyPlaces: known.flatMap(({ emptyPlaces }) => emptyPlaces).slice(0, PLACES),
    cutPlaces: known.flatMap(({ cutPlaces }) => cutPlaces).slice(0, PLACES),
    refused: sum(({ refused }) => refused),
    reasons: joinedKinds(
      known.flatMap(({ reasons }) => reasons),
      ({ why }) => why,
    ),
    notFinite: joinedKinds(
      known.flatMap(({ notFinite }) => notFinite),
      ({ state }) => state,
    ),
    duplicates: {
      samples: sum(({ duplicates }) => duplicates.samples),
      places: known.flatMap(({ duplicates }) => duplicates.places).slice(0, PLACES),
    },
  }
}

interface Kind {
  readonly samples: number
  readonly places: readonly string[]
}

/** Kinds of one name together, the most frequent first. */
function joinedKinds<T extends Kind>(kinds: readonly T[], name: (kind: T) => string): T[] {
  const joined = new Map<string, T>()
  for (const kind of kinds) {
    const before = joined.get(name(kind))
    const { samples, places } = before ?? { samples: 0, places: [] }
    joined.set(name(kind), {
      ...kind,
      samples: samples + kind.samples,
      places: [...places, ...kind.places].slice(0, PLACES),
    })
  }
  return [...joined.values()].sort((a, b) => b.samples - a.samples)
}
