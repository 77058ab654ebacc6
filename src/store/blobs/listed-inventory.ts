import { keyText } from '../blob-key.ts'
import type { Blobs, StoredKey } from './blobs.ts'
import type { FoundObject, Inventory } from './inventory.ts'

const OLD = { modifiedMs: Number.NEGATIVE_INFINITY, touchedMs: Number.NEGATIVE_INFINITY }

const foundBlob = ({ bytes, ...key }: StoredKey): FoundObject => ({ key, bytes, file: keyText(key), ...OLD })

async function* nothing(): AsyncIterable<never> {}

/** The inventory of blobs that are no files. They have no age, so no grace applies to them. */
export const listedInventory = (blobs: Blobs): Inventory => ({
  async *objects() {
    for (const blob of await blobs.list()) yield foundBlob(blob)
  },
  async object({ sampleId, generation }) {
    const found = (await blobs.list(sampleId)).find((blob) => blob.generation === generation)
    return found === undefined ? null : foundBlob(found)
  },
  label: async () => null,
  beside: async () => null,
  extern: nothing,
  unusedContent: nothing,
  staged: nothing,
  foreignAtTop: async () => [],
  now: async () => 0,
  drop: async () => {},
})
