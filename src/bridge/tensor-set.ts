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
    const handle = this.#taken()
    if (handle !== undefined) await this.#python.call('handle.free', { handle })
  }

  /** Disposes many in one call. */
  static async disposeAll(python: Python, owned: Iterable<Owned>): Promise<void> {
    const handles = [...owned].map((one) => one.#taken()).filter((handle) => handle !== undefined)
    if (handles.length > 0) await python.call('handles.free', { handles })
  }

  #taken(): number | undefined {
    const handle = this.#handle
    this.#handle = undefined
    return handle
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
