import { type CodedError, finding } from '../../core/errors.ts'

export interface LostSample {
  /** An index into the refs. */
  readonly sample: number
  /** The first micro-step of the run that leaves it out. */
  readonly since: number
}

export interface LostSamplesOptions {
  /** Samples in the manifest. */
  readonly samples: number
  /** The share of them that a run may lose and still go on. */
  readonly share: number
  /** Batches that are made ahead of the one in use: micro-steps that were begun before the ranks could agree. */
  readonly ahead: number
  /** The lost samples that the checkpoint lists. */
  readonly known: readonly LostSample[]
}

/**
 * Samples of the run that cannot be read. Their places in the plan stay empty, so that no step, window or schedule
 * moves. A rank knows what it found itself at once, and what the others found from the next optimiser step on.
 *
 * From which micro-step on a sample is not asked for follows from where it was lost and from nothing else, not from how
 * far a rank happens to have read ahead. So all ranks, and a run that resumes, make the same batches.
 */
export class LostSamples {
  readonly #options: LostSamplesOptions
  readonly #agreed = new Map<number, number>()
  readonly #found = new Set<number>()

  constructor(options: LostSamplesOptions) {
    this.#options = options
    for (const { sample, since } of options.known) this.#agreed.set(sample, since)
  }

  leftOut(sample: number, cursor: number): boolean {
    return cursor >= (this.#agreed.get(sample) ?? Number.POSITIVE_INFINITY)
  }

  /**
   * Records a sample that this rank could not read.
   * @throws `error` itself when a run may lose none, else SAMPLE_CORRUPT when this is one too many.
   */
  found(sample: number, error: CodedError): void {
    this.#found.add(sample)
    if (this.#options.share === 0) throw error
    this.#requireAllowed(new Set([...this.#found, ...this.#agreed.keys()]), error)
  }

  /**
   * Records the samples that any rank lost in the window that ended with micro-step `cursor`. Every rank calls it with
   * the same arguments. @throws SAMPLE_CORRUPT, on all ranks, when they are too many.
   */
  agree(samples: readonly number[], cursor: number): void {
    const since = cursor + 1 + this.#options.ahead
    for (const sample of samples) if (!this.#agreed.has(sample)) this.#agreed.set(sample, since)
    this.#requireAllowed(new Set(this.#agreed.keys()))
  }

  /** The lost samples that all ranks know of, in the order of the refs. */
  agreed(): readonly LostSample[] {
    return [...this.#agreed].map(([sample, since]) => ({ sample, since })).sort((a, b) => a.sample - b.sample)
  }

  #requireAllowed(lost: ReadonlySet<number>, cause?: CodedError): void {
    const { samples, share } = this.#options
    if (lost.size <= share * samples) return
    const what = 'more samples cannot be read than this run may lose'
    const last = cause === undefined ? '' : `; the last one: ${cause.message}`
    throw finding(
      'SAMPLE_CORRUPT',
      what,
      {
        field: 'train.maxCorruptShare',
        found: `${lost.size} of ${samples} samples are lost; the largest allowed share is ${share}${last}`,
        fix: 'look for the cause (`draftbridge store verify`), then produce the features again',
      },
      { cause },
    )
  }
}
