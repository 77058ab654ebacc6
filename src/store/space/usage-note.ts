import { z } from 'zod'

const Bytes = z.number().int().nonnegative()

/** What all processes of a store agree on about its room. Changed under the lock only, and written whole. */
export const Usage = z.strictObject({
  version: z.literal(1),
  /** What stored objects take up. Never less than they do, when nobody is at work. */
  bytes: Bytes,
  /** Another number with every recount: who removed something before it must not take it off once more. */
  counted: z.number().int().positive(),
  /** The one that was given last. Each process keeps to its own; this is for whoever looks at the store. */
  quota: Bytes.nullable(),
  /** What is being put right now, by member. */
  reserved: z.record(z.string(), Bytes),
})
export type Usage = z.output<typeof Usage>

export const usageText = (usage: Usage): string => `${JSON.stringify(usage)}\n`

/** Null for text that is none, such as a note that a power cut left empty: the store has to be counted again. */
export function parseUsage(text: string): Usage | null {
  try {
    return Usage.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}

/** Stored and being stored. */
export const takenBytes = (usage: Usage): number =>
  Object.values(usage.reserved).reduce((sum, bytes) => sum + bytes, usage.bytes)
