import type { SampleId } from '../../core/ids.ts'
import { PLACES, type ProducedHealth } from '../../core/produced-health.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { ContentSet } from './content-set.ts'
import type { SourceItem } from './feature-source.ts'
import type { Refusals } from './refusals.ts'

/** The most characters that are kept of a reason or a place: an input may put anything into them. */
const LONGEST = 400
/** The most kinds that are kept: a reason may contain a value of the input. */
const KINDS = 100

/**
 * What the producer counts beside its totals. A resumed producer comes to every input again, also to those that an
 * earlier start has stored, so its counts are those of the whole run.
 */
export class HealthCounts {
  readonly #seen = new ContentSet()
  /** Digests of ids and mask of samples that are on their way into the store. */
  readonly #contents = new Map<SampleId, string>()
  readonly #repeats: string[] = []
  #duplicates = 0
  #empty = 0
  #emptyCut = 0
  readonly #emptyPlaces: string[] = []
  readonly #cutPlaces: string[] = []

  addEmpty({ truncated, where }: Extract<SourceItem, { kind: 'empty' }>): void {
    this.#empty += 1
    this.#emptyCut += Number(truncated)
    addPlace(this.#emptyPlaces, where)
  }

  /** `content`: the digest of ids and mask of a sample that will be published, or refused while it is stored. */
  expect(sampleId: SampleId, content: string): void {
    this.#contents.set(sampleId, content)
  }

  /** Counts a sample that is published. True if an earlier one has its ids and its mask. */
  addPublished({ sampleId, provenance, truncated }: SampleRef): boolean {
    const where = String(provenance['from'] ?? sampleId)
    if (truncated === true) addPlace(this.#cutPlaces, where)
    const content = this.#contents.get(sampleId)
    this.#contents.delete(sampleId)
    if (content === undefined || this.#seen.add(content)) return false
    this.#duplicates += 1
    addPlace(this.#repeats, where)
    return true
  }

  /** `isSealed`: the store keeps what it holds secret, so nothing of an input is quoted. */
  health(
    refusals: Refusals,
    { isSealed, ...about }: Pick<ProducedHealth, 'inputs' | 'total' | 'whole'> & { readonly isSealed: boolean },
  ): ProducedHealth {
    const reasons = isSealed ? refusals.kindsByFile : refusals.kinds
    const kept = <T extends { places: readonly string[] }>(kinds: readonly T[]): T[] =>
      kinds.slice(0, KINDS).map((kind) => ({ ...kind, places: kind.places.map(short) }))
    return {
      version: 1,
      ...about,
      empty: this.#empty,
      emptyCut: this.#emptyCut,
      emptyPlaces: this.#emptyPlaces,
      cutPlaces: this.#cutPlaces,
      refused: refusals.samples,
      reasons: kept(reasons).map((kind) => ({ ...kind, why: short(kind.why) })),
      notFinite: kept(refusals.states).map((kind) => ({ ...kind, state: short(kind.state) })),
      duplicates: { samples: this.#duplicates, places: this.#repeats },
    }
  }
}

function addPlace(places: string[], place: string): void {
  if (places.length < PLACES) places.push(short(place))
}

/** The begin and the end of a long text: a file's name and line stand at the one, what was found at the other. */
const short = (text: string): string =>
  text.length <= LONGEST ? text : `${text.slice(0, LONGEST / 2)} … ${text.slice(-LONGEST / 2)}`
