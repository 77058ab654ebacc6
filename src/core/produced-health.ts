import { z } from 'zod'

const Count = z.number().int().nonnegative()
const Places = z.array(z.string()).readonly()

/** How many places are kept of each kind. */
export const PLACES = 5

/** What a producer counted of its inputs and what the refs of its manifest do not tell. `places`: the first of a kind. */
export const ProducedHealth = z.object({
  version: z.literal(1),
  /** Inputs that were come to, conversations or files, of `total`. */
  inputs: Count,
  total: Count,
  /** False: the producer ended before it had come to all inputs. */
  whole: z.boolean(),
  /** Samples without a trained token, and those of them that were cut before their first one. */
  empty: Count,
  emptyCut: Count,
  emptyPlaces: Places.default([]),
  /** Where stored samples are that were cut. */
  cutPlaces: Places.default([]),
  /** Bad inputs, and why. */
  refused: Count,
  reasons: z.array(z.object({ why: z.string(), samples: Count, places: Places })).readonly(),
  /** Refused samples by the first state, with its layer, that holds NaN or an infinite value. */
  notFinite: z.array(z.object({ state: z.string(), samples: Count, places: Places })).readonly(),
  /** Samples with the ids and the mask of an earlier one. They are stored and trained like any other. */
  duplicates: z.object({ samples: Count, places: Places }),
})
export type ProducedHealth = z.output<typeof ProducedHealth>
