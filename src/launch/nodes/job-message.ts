import { z } from 'zod'

const Index = z.number().int().nonnegative()
const Port = z.number().int().min(1).max(65_535)

/** An address of node 0 of the pool that a member has reached, and its own interface on the way there. */
export const Reached = z.strictObject({ address: z.string(), interface: z.string().nullable() })
export type Reached = z.output<typeof Reached>

/** What a member says of itself when it joins. */
export const Hello = z.strictObject({
  type: z.literal('hello'),
  host: z.string(),
  ranks: z.number().int().positive(),
  /** Settings that must be equal on all nodes, by the name that a user knows them by. */
  settings: z.record(z.string(), z.string()),
  reached: z.array(Reached),
})
export type Hello = z.output<typeof Hello>

export const FromMember = z.discriminatedUnion('type', [
  Hello,
  z.strictObject({ type: z.literal('alive') }),
  z.strictObject({ type: z.literal('event'), body: z.unknown() }),
  /** `host`: of a node that has not said hello. */
  z.strictObject({ type: z.literal('failed'), code: z.string(), message: z.string(), host: z.string().optional() }),
  z.strictObject({ type: z.literal('done') }),
])
export type FromMember = z.output<typeof FromMember>

/** What a member needs to start its ranks. */
export const JobPlan = z.strictObject({
  /** The number of its first rank among all ranks. */
  firstRank: Index,
  worldSize: z.number().int().positive(),
  masterAddr: z.string(),
  masterPort: Port,
  /** The step of the checkpoint that every rank goes on from; null: none. */
  resumeFrom: Index.nullable(),
})
export type JobPlan = z.output<typeof JobPlan>

/** The job is over because of `node`. */
export const JobFailure = z.strictObject({
  node: Index,
  host: z.string(),
  code: z.string(),
  message: z.string(),
})
export type JobFailure = z.output<typeof JobFailure>

export const FromHead = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('alive') }),
  z.strictObject({ type: z.literal('plan'), plan: JobPlan }),
  z.strictObject({ type: z.literal('failed'), failure: JobFailure }),
  /** This process is not one of the job; `why` for people. */
  z.strictObject({ type: z.literal('busy'), why: z.string() }),
  z.strictObject({ type: z.literal('over') }),
])
export type FromHead = z.output<typeof FromHead>

/** `.job.json` in the run folder: where the first node of a pool waits for the others. Only its owner can read it. */
export const JobNote = z.looseObject({
  v: z.literal(1),
  host: z.string(),
  addresses: z.array(z.string()),
  port: Port,
  token: z.string().regex(/^[0-9a-f]{64}$/),
})
export type JobNote = z.output<typeof JobNote>

/** A line of JSON as such a message; null for everything else. */
export function parsed<T>(schema: z.ZodType<T>, line: string | null): T | null {
  if (line === null) return null
  try {
    return schema.safeParse(JSON.parse(line)).data ?? null
  } catch {
    return null
  }
}
