import { keyText } from '../blob-key.ts'
import type { Blobs } from '../blobs/blobs.ts'
import type { Inventory } from './inventory.ts'

async function* nothing(): AsyncIterable<never> {}

/** What a backend without files can say of itself. Nothing there has an age, so no grace applies to it. */
export const listedInventory = (blobs: Blobs): Inventory => ({
  async *objects() {
    const old = { modifiedMs: Number.NEGATIVE_INFINITY, touchedMs: Number.NEGATIVE_INFINITY }
    for (const { bytes, ...key } of await blobs.list()) yield { key, bytes, file: keyText(key), ...old }
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
