import { type CodedError, finding } from '../../core/errors.ts'
import { PLACES } from '../../core/produced-health.ts'

/** Samples that were refused for one reason. `places`: the first of them, `file:line` or a file. */
export interface RefusedKind {
  readonly why: string
  readonly samples: number
  readonly places: readonly string[]
}

/** Samples with values that are no numbers, by the first state that holds some. */
export interface NotFiniteKind extends Omit<RefusedKind, 'why'> {
  readonly state: string
}

interface Kind {
  samples: number
  readonly places: Place[]
}

interface Place {
  readonly file: string
  /** The file, its field, and what was found: it may quote the input. */
  readonly finding: string
}

type Refused = CodedError<'FEATURE_INVALID'>

/** Counts the refused samples by reason. One bad sample never ends a run; too large a share of them does. */
export class Refusals {
  readonly #kinds = new Map<string, Kind>()
  readonly #states = new Map<string, Kind>()
  #first: Refused | null = null
  #samples = 0
  /** Inputs with a refused sample; one may give several. */
  #inputs = 0

  get samples(): number {
    return this.#samples
  }

  get kinds(): readonly RefusedKind[] {
    return listed(this.#kinds, ({ finding }) => finding).map(([why, kind]) => ({ why, ...kind }))
  }

  /** `kinds` with places that quote nothing of an input. */
  get kindsByFile(): readonly RefusedKind[] {
    return listed(this.#kinds, ({ file }) => file).map(([why, kind]) => ({ why, ...kind }))
  }

  get states(): readonly NotFiniteKind[] {
    return listed(this.#states, ({ file }) => file).map(([state, kind]) => ({ state, ...kind }))
  }

  /** `isPart`: a further sample of an input that was counted already. */
  add(error: Refused, isPart = false): void {
    const { file = '?', field, found, state } = error.details
    const [what = error.message] = error.message.split('\n')
    const place = { file, finding: [file, field, found].filter((part) => part !== undefined).join(': ') }
    count(this.#kinds, what, place)
    if (state !== undefined) count(this.#states, state, place)
    this.#first ??= error
    this.#samples += 1
    this.#inputs += Number(!isPart)
  }

  /** @throws FEATURE_INVALID when more than `share` of `total` inputs, and more than one, were refused. */
  expectFew(total: number, share: number): void {
    if (this.#inputs > Math.max(1, share * total)) throw this.tooMany(total, share)
  }

  /** Why a run without a single good sample ends: as the first refused sample says. Null when none was refused. */
  get first(): Refused | null {
    return this.#first
  }

  tooMany(total: number, share: number): Refused {
    const [first] = this.kinds
    const places = this.kinds.flatMap((kind) => [
      `${kind.samples} x ${kind.why}`,
      ...kind.places.map((place) => `  ${place}`),
    ])
    return finding('FEATURE_INVALID', 'too many samples are bad', {
      file: first?.places[0]?.split(': ')[0] ?? '?',
      field: 'data.maxBadShare',
      found: `${this.#inputs} of ${total}, where ${share * 100} % are allowed\n         ${places.join('\n         ')}`,
      fix: `mend or remove these inputs, or allow twice this share, because more may follow: --set data.maxBadShare=${allowing(this.#inputs / total)}; the same command then goes on with what is stored`,
    })
  }
}

/** Twice the share so far. */
const allowing = (share: number): number => Math.min(1, Math.ceil(200 * share) / 100)

/** The most frequent kinds first. */
function listed(kinds: ReadonlyMap<string, Kind>, text: (place: Place) => string) {
  const sorted = [...kinds].sort(([, one], [, other]) => other.samples - one.samples)
  return sorted.map(([name, { samples, places }]) => [name, { samples, places: places.map(text) }] as const)
}

function count(kinds: Map<string, Kind>, name: string, place: Place): void {
  const kind = kinds.get(name) ?? { samples: 0, places: [] }
  kind.samples += 1
  if (kind.places.length < PLACES) kind.places.push(place)
  kinds.set(name, kind)
}
