import { z } from 'zod'

const Bytes = z.number().int().nonnegative()

/** The count of a store's bytes that all its processes share. Changed under the lock only, and written whole. */
export const Usage = z.strictObject({
  version: z.literal(1),
  /** What stored objects take up. Never too small while no process is at work. */
  bytes: Bytes,
  /** A new random number with every recount: what was removed before a recount must not be subtracted from it again. */
  counted: z.number().int().positive(),
  /** The quota that was given last. Each process obeys its own; this one is for reports. */
  quota: Bytes.nullable(),
  /** Bytes reserved for puts in progress, by member. */
  reserved: z.record(z.string(), Bytes),
})
export type Usage = z.output<typeof Usage>

export const usageText = (usage: Usage): string => `${JSON.stringify(usage)}\n`

/** Null for damaged text, such as a note that a power cut left empty: the store has to be counted again. */
export function parseUsage(text: string): Usage | null {
  try {
    return Usage.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}

/** The bytes of stored objects and of puts in progress. */
export const takenBytes = (usage: Usage): number =>
  Object.values(usage.reserved).reduce((sum, bytes) => sum + bytes, usage.bytes)
