import type { Python } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import { systemClock } from '../../core/clock.ts'
import type { EventBody } from '../../report/events/events.ts'
import { scalarsOf } from '../../report/events/scalars.ts'

/** TensorBoard files of a run. They may lag behind the events: training never waits for them. */
export class TensorBoard implements AsyncDisposable {
  readonly #python: Python
  readonly #file: Owned
  #last: Promise<unknown> = Promise.resolve()
  #failed: { readonly error: unknown } | undefined

  private constructor(python: Python, handle: number) {
    this.#python = python
    this.#file = new Owned(python, handle)
  }

  /** `resumedFrom`: what an earlier start wrote of later steps no longer counts, because these steps are trained again. */
  static async open(python: Python, dir: string, resumedFrom: number | null): Promise<TensorBoard> {
    const { handle } = await python.call('tensorboard.open', { dir, purgeStep: (resumedFrom ?? 0) + 1 })
    return new TensorBoard(python, handle)
  }

  /** @throws what an earlier write failed with. */
  show(body: EventBody): void {
    if (this.#failed !== undefined) throw this.#failed.error
    const found = scalarsOf(body)
    if (found === null) return
    const point = { file: this.#file.handle, step: found.step, wallTime: systemClock.now() / 1000 }
    const write = () => this.#python.call('tensorboard.write', { ...point, scalars: found.values })
    this.#last = this.#last.then(write).catch((error: unknown) => {
      this.#failed ??= { error }
    })
  }

  /** All that was shown is in the file. @throws what a write failed with. */
  async settled(): Promise<void> {
    await this.#last
    if (this.#failed !== undefined) throw this.#failed.error
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last
    await this.#file[Symbol.asyncDispose]()
  }
}
