import { z } from 'zod'

/** More parts than anybody has producers; a larger number is a mistake in typing. */
const MAX_PARTS = 10_000

/** One producer's share of a data set: the inputs whose place, divided by `count`, leaves `index`. */
export const Part = z
  .strictObject({
    index: z.number().int().nonnegative(),
    count: z.number().int().positive().max(MAX_PARTS),
  })
  .refine(({ index, count }) => index < count, 'an index below the count')
export type Part = z.output<typeof Part>

/** Whether the input at this place among all inputs belongs to the part. Null: to a producer of all. */
export const takes = (part: Part | null, order: number): boolean => part === null || order % part.count === part.index

/** How many of `total` inputs belong to the part. */
export const shareOf = (part: Part | null, total: number): number =>
  part === null ? total : Math.floor((total - 1 - part.index) / part.count) + 1

/** `0/4` is the first of four, as `--part` has it. */
export const partText = ({ index, count }: Part): string => `${index}/${count}`

/** Null for what is no part. */
export function parsePart(text: string): Part | null {
  const [, index, count] = /^(\d{1,9})\/(\d{1,9})$/.exec(text) ?? []
  return Part.safeParse({ index: Number(index), count: Number(count) }).data ?? null
}
