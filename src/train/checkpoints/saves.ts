import type { Python } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import { hasCode } from '../../core/errors.ts'
import { storageError } from '../../core/files/storage-error.ts'
import type { CheckpointFolder } from './checkpoint.ts'
import type { CheckpointPosition } from './checkpoint-record.ts'

export interface SavesOptions {
  readonly python: Python
  /** The handle of the session that the snapshots are of. */
  readonly session: number
  readonly checkpoints: CheckpointFolder
  /** Checkpoints that stay, beside the best. */
  readonly keep: number
  readonly onComplete: (step: number, dir: string) => void
}

const PLACE = 'the folder of the checkpoints'
const FIX_WHEN_FULL = 'free space or lower train.save.keep, then start again: earlier checkpoints are complete'

/**
 * Checkpoints under way, on the rank that writes: from the snapshot to the complete folder, one at a time, while the run
 * trains on. The other ranks have given their part to the snapshot, so none of them is needed any more.
 */
export class Saves implements AsyncDisposable {
  readonly #options: SavesOptions
  #writing: Promise<void> = Promise.resolve()
  #underWay: number | null = null
  #failure: { readonly error: unknown } | undefined
  #complete = 0

  constructor(options: SavesOptions) {
    this.#options = options
  }

  /** The step whose checkpoint is still being written, or null. */
  get underWay(): number | null {
    return this.#underWay
  }

  /** The newest step that was saved here and is complete; 0 before the first. @throws the error of a save that failed. */
  get complete(): number {
    if (this.#failure !== undefined) throw this.#failure.error
    return this.#complete
  }

  /** Resolves once nothing is being written. @throws the error of a save that failed. */
  async settled(): Promise<void> {
    await this.#writing
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Takes the snapshot over, and returns at once. */
  begin(snapshot: number, record: CheckpointPosition): void {
    if (this.#underWay !== null) throw new Error(`the checkpoint of step ${this.#underWay} is still being written`)
    this.#underWay = record.globalStep
    // Never rejects: `complete` and `settled` throw the failure.
    this.#writing = this.#write(snapshot, record)
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => {
        this.#underWay = null
      })
  }

  /** Finishes the save under way, however the run ended: it may be the checkpoint to go on from. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing
  }

  async #write(handle: number, record: CheckpointPosition): Promise<void> {
    const { python, session, checkpoints, keep, onComplete } = this.#options
    const step = record.globalStep
    await using snapshot = new Owned(python, handle)
    try {
      const dir = await checkpoints.begin(step)
      await python.call('snapshot.write', { snapshot: snapshot.handle, dir })
      await checkpoints.complete(record, keep)
    } catch (error) {
      // Throws when this trainer was taken for dead: whatever failed, that is why.
      await checkpoints.abandon(step)
      // A step was not finite: the session knows which, and throws.
      if (hasCode(error, 'FEATURE_INVALID')) await python.call('train.settle', { session })
      throw storageError(error, checkpoints.pathOf(step), PLACE, FIX_WHEN_FULL)
    }
    this.#complete = step
    onComplete(step, checkpoints.pathOf(step))
  }
}
