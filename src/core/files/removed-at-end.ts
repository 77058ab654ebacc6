import { rm } from 'node:fs/promises'

/**
 * For `await using`: `file`, a file or a folder, is gone at the end of the block, however that ends. Where the block has
 * failed too, its failure stays the first one: a `finally` that throws would hide it.
 */
export const removedAtEnd = (file: string): AsyncDisposable => ({
  [Symbol.asyncDispose]: () => rm(file, { recursive: true, force: true }),
})
