import type { Validated } from '../../bridge/ops.ts'
import { Loader, type LoaderOptions, type StepSamples } from '../data/loader.ts'
import { LostSamples } from '../data/lost-samples.ts'

export interface Validation extends Validated {
  /** Draft tokens accepted per target pass, estimated as if the positions were accepted independently. */
  readonly simulatedAcceptLength: number | null
}

export type ValidatorOptions = Omit<LoaderOptions<StepSamples>, 'steps' | 'lost'> & {
  /** How many samples the run has, and the share of them that may be lost. */
  readonly mayLose: { readonly samples: number; readonly share: number }
  /** This rank's part. */
  readonly rounds: readonly StepSamples[]
  /** Optimiser steps between two validations. */
  readonly every: number
}

/** Measures the draft on samples that are held out of training. All ranks run it at the same time. */
export class Validator {
  readonly #options: ValidatorOptions
  /** Of this rank only: the other ranks validate other samples. */
  readonly #lost: LostSamples

  constructor(options: ValidatorOptions) {
    this.#options = options
    this.#lost = new LostSamples({ ...options.mayLose, ahead: 0, known: [] })
  }

  /** Whether to validate after this optimiser step: always after the last one of the run, never when it stops early. */
  isDue(step: number, totalSteps: number, stop: boolean): boolean {
    return step === totalSteps || (!stop && step % this.#options.every === 0)
  }

  async run(): Promise<Validation> {
    const { python, session, rounds } = this.#options
    const unread: number[] = []
    for await (const given of new Loader({ ...this.#options, steps: rounds, lost: this.#lost })) {
      await using batch = given
      unread.push(...batch.lost)
      await python.call('train.validate', { session, batch: batch.handle })
    }
    // Later validations leave them out.
    this.#lost.agree(unread, -1)
    const found = await python.call('train.validation', { session })
    return { ...found, simulatedAcceptLength: simulatedAcceptLength(found.acc) }
  }
}

/** sum over k of the product of acc_1 to acc_k; the token that a pass of the target gives anyway is not in it. */
export function simulatedAcceptLength(acc: readonly (number | null)[]): number | null {
  let [chain, length] = [1, 0]
  for (const each of acc) {
    if (each === null) return null
    chain *= each
    length += chain
  }
  return length
}
