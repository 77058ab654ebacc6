import type { SampleId } from '../../core/ids.ts'
import { type BlobKey, keyOfSegment, keySegment, shardOf } from '../blob-key.ts'
import type { Coordination } from '../coordination/coordination.ts'

const FOLDER = 'blobs'

/**
 * Which blobs are there, for blobs that have no files of the store: one note `blobs/<2 hex>/<sampleId>.<generation>` for
 * each. A blob exists from the moment its note is published until the note is withdrawn, and both are stopped by a fence.
 *
 * put:    1 store the bytes     2 publish the note: THE COMMIT POINT. Bytes without a note belong to no blob; remove them.
 * remove: 1 withdraw the note: THE COMMIT POINT   2 remove the bytes.
 */
export class PublishedBlobs {
  readonly #coordination: Pick<Coordination, 'notes' | 'publish' | 'withdraw'>

  constructor(coordination: Pick<Coordination, 'notes' | 'publish' | 'withdraw'>) {
    this.#coordination = coordination
  }

  /** False when there is such a blob already. `about` must not be empty. */
  publish(key: BlobKey, about: string): Promise<boolean> {
    return this.#coordination.publish(noteOf(key), about)
  }

  /** False when there was no such blob. */
  withdraw(key: BlobKey): Promise<boolean> {
    return this.#coordination.withdraw(noteOf(key))
  }

  has(key: BlobKey): Promise<boolean> {
    return this.#coordination.notes.has(noteOf(key))
  }

  /** All of them, or those of one sample. */
  async list(sampleId?: SampleId): Promise<readonly BlobKey[]> {
    const { notes } = this.#coordination
    const shards = sampleId === undefined ? await notes.list(FOLDER) : [shardOf(sampleId)]
    const keys: BlobKey[] = []
    for (const shard of shards) {
      for (const segment of await notes.list(`${FOLDER}/${shard}`)) {
        const key = keyOfSegment(segment)
        if (key !== null && (sampleId === undefined || key.sampleId === sampleId)) keys.push(key)
      }
    }
    return keys
  }
}

const noteOf = (key: BlobKey): string => `${FOLDER}/${shardOf(key.sampleId)}/${keySegment(key)}`
