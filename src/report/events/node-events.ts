import { z } from 'zod'

const Count = z.number().int().nonnegative()

export const nodeEvents = [
  /** Other nodes of the training pool are waited for. `why`: which ones, or what keeps this node out. */
  z.strictObject({ event: z.literal('nodes.waiting'), why: z.string(), timeoutSeconds: z.number() }),
  /** All nodes of the training pool are there. `address`: where their ranks meet. */
  z.strictObject({
    event: z.literal('nodes.joined'),
    nodes: z.array(z.strictObject({ node: Count, host: z.string(), ranks: Count })).readonly(),
    address: z.string(),
  }),
  /** One rank that another launcher has started. `restart`: how often it has started the job again. */
  z.strictObject({
    event: z.literal('rank.launched'),
    rank: Count,
    ranks: Count,
    launcher: z.string(),
    restart: Count,
  }),
] as const
