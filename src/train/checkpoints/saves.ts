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
const ROOM = 'free space or lower train.save.keep, then start again: what was saved before is whole'

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

  /** The newest step that was saved here and is complete; 0 before the first. @throws what a save failed of. */
  get complete(): number {
    if (this.#failure !== undefined) throw this.#failure.error
    return this.#complete
  }

  /** Resolves once nothing is being written. @throws what the save failed of. */
  async settled(): Promise<void> {
    await this.#writing
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Takes the snapshot over, and returns at once. */
  begin(snapshot: number, record: CheckpointPosition): void {
    if (this.#underWay !== null) throw new Error(`the checkpoint of step ${this.#underWay} is still being written`)
    this.#underWay = record.globalStep
    // Never rejects: whoever asks next meets the failure.
    this.#writing = this.#write(snapshot, record)
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => {
        this.#underWay = null
      })
  }

  /** What is being written is finished, however the run has ended: it may be the checkpoint to go on from. */
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
      await checkpoints.abandon(step)
      // A step was not finite: the session knows which, and throws.
      if (hasCode(error, 'FEATURE_INVALID')) await python.call('train.settle', { session })
      throw storageError(error, checkpoints.pathOf(step), PLACE, ROOM)
    }
    this.#complete = step
    onComplete(step, checkpoints.pathOf(step))
  }
}
