import { finding } from '../../core/errors.ts'
import { Generation } from '../../core/ids.ts'
import type { Epoch } from '../coordination/epoch-claims.ts'

/** A generation is `epoch * 2^20 + counter`: the epoch is claimed from the store, the counter is this process's own. */
const PER_EPOCH = 2 ** 20
const LAST_EPOCH = Math.floor(Number.MAX_SAFE_INTEGER / PER_EPOCH) - 1

type Claim = (above: number) => Promise<Epoch>

/** Makes generations that never come twice: not after a free, a restart, a clock change, or from another process. */
export class GenerationSource {
  readonly #claim: Claim
  #epoch: Epoch | undefined
  #counter = 0
  /** Another producer held the newest epoch before this one was claimed, and `announce` has not been called since. */
  #overtook = false
  #turn: Promise<unknown> = Promise.resolve()

  constructor(claim: Claim) {
    this.#claim = claim
  }

  /** Greater than `above` and all generations of this process; with `afterAllProducers`, greater than those of all processes. */
  next(above = 0, afterAllProducers = false): Promise<Generation> {
    return this.#inTurn(async () => {
      const current = this.#epoch !== undefined && (!afterAllProducers || (await this.#epoch.newest()))
      const usable = current && this.#counter < PER_EPOCH - 1
      if (!usable || this.#peek() <= above) await this.#renewAndDetectOthers(Math.floor(above / PER_EPOCH))
      this.#counter += 1
      return Generation.parse(this.#at(this.#counter))
    })
  }

  /** Claims an epoch if none is held. True when no other process has claimed a later one. */
  sole(): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#epoch === undefined) await this.#renew(0)
      return !this.#overtook && this.#epoch !== undefined && (await this.#epoch.newest())
    })
  }

  /** Claims a later epoch: that is how every other producer learns that there is another one. */
  announce(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#renew(this.#epoch?.number ?? 0)
      this.#overtook = false
    })
  }

  /** Claims a later epoch. Where the new number does not follow the old one, another producer claimed one in between. */
  async #renewAndDetectOthers(above: number): Promise<void> {
    const before = this.#epoch
    await this.#renew(above)
    if (before !== undefined && this.#epoch?.number !== before.number + 1) this.#overtook = true
  }

  async #renew(above: number): Promise<void> {
    if (above >= LAST_EPOCH) {
      const found = `generations of epoch ${above}; the last possible one is ${LAST_EPOCH}`
      const fix = 'a stored file carries a generation that draftbridge cannot have made; remove it'
      throw finding('STORE_UNAVAILABLE', 'the store has run out of generations', { found, fix })
    }
    this.#epoch = await this.#claim(above)
    this.#counter = 0
  }

  #peek(): number {
    return this.#at(this.#counter + 1)
  }

  #at(counter: number): number {
    return (this.#epoch?.number ?? 0) * PER_EPOCH + counter
  }

  // Two puts at once must share one claim and never one number.
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(task)
    this.#turn = result.catch(() => undefined)
    return result
  }
}
