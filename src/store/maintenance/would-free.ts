import { type BlobKey, keySegment } from '../blob-key.ts'
import type { FoundObject, Inventory } from '../blobs/inventory.ts'

/**
 * The bytes that the removal of objects would free, for a dry run. Counts as the removal itself does: a file that
 * several objects share is freed with the last of them.
 */
export class WouldFree {
  readonly #files: Pick<Inventory, 'beside'>
  readonly #counted = new Set<string>()
  /** By the id of a shared file: its users that would stay. */
  readonly #usersLeft = new Map<string, number>()

  constructor(files: Pick<Inventory, 'beside'>) {
    this.#files = files
  }

  /** Whether the object was counted. */
  has(key: BlobKey): boolean {
    return this.#counted.has(keySegment(key))
  }

  /** 0 for an object that was counted before. */
  async add(object: FoundObject): Promise<number> {
    const beside = await this.#files.beside(object)
    if (this.has(object.key)) return 0
    this.#counted.add(keySegment(object.key))
    if (beside === null) return object.bytes
    const { bytes, shared } = beside
    if (shared === null) return object.bytes + bytes
    const left = (this.#usersLeft.get(shared.id) ?? shared.users) - 1
    this.#usersLeft.set(shared.id, left)
    return object.bytes + (left === 0 ? bytes : 0)
  }
}
