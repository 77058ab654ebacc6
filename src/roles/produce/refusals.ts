import { type CodedError, finding } from '../../core/errors.ts'

const PLACES = 5

/** Samples that were refused for one reason. `places`: the first of them, `file:line` or a file. */
export interface RefusedKind {
  readonly why: string
  readonly samples: number
  readonly places: readonly string[]
}

type Refused = CodedError<'FEATURE_INVALID'>

/** Counts the refused samples by reason. One bad sample never ends a run; too large a share of them does. */
export class Refusals {
  readonly #kinds = new Map<string, { samples: number; places: string[] }>()
  #first: Refused | null = null
  #samples = 0

  get samples(): number {
    return this.#samples
  }

  get kinds(): readonly RefusedKind[] {
    return [...this.#kinds].map(([why, kind]) => ({ why, ...kind })).sort((a, b) => b.samples - a.samples)
  }

  add(error: Refused): void {
    const { file = '?', field, found } = error.details
    const [what = error.message] = error.message.split('\n')
    const kind = this.#kinds.get(what) ?? { samples: 0, places: [] }
    kind.samples += 1
    if (kind.places.length < PLACES)
      kind.places.push([file, field, found].filter((part) => part !== undefined).join(': '))
    this.#kinds.set(what, kind)
    this.#first ??= error
    this.#samples += 1
  }

  /** @throws FEATURE_INVALID when more than `share` of `total` inputs, and more than one, were refused. */
  expectFew(total: number, share: number): void {
    if (this.#samples > Math.max(1, share * total)) throw this.tooMany(total, share)
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
      found: `${this.#samples} of ${total}, where ${share * 100} % are allowed\n         ${places.join('\n         ')}`,
      fix: 'mend or remove these inputs, or raise data.maxBadShare; the same command then goes on with what is stored',
    })
  }
}
