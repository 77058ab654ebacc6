import type { FeatureSpec } from '../core/feature-spec.ts'
import type { Minted } from './ops.ts'
import type { Python } from './python.ts'

/** Owns an object in Python, which Node refers to by a handle. Disposing this frees the object. */
export class Owned implements AsyncDisposable {
  readonly #python: Python
  #handle: number | undefined

  constructor(python: Python, handle: number) {
    this.#python = python
    this.#handle = handle
  }

  get handle(): number {
    if (this.#handle === undefined) throw new Error(`${this.constructor.name} used after dispose`)
    return this.#handle
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#handle === undefined) return
    const handle = this.#handle
    this.#handle = undefined
    await this.#python.call('handle.free', { handle })
  }
}

/** Named CPU tensors. */
export class TensorSet extends Owned {
  readonly features: readonly FeatureSpec[]
  readonly bytes: number

  constructor(python: Python, minted: Minted) {
    super(python, minted.handle)
    this.features = minted.features
    this.bytes = minted.bytes
  }
}
