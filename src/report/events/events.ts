import { z } from 'zod'
import { trainEvents } from './train-events.ts'

const Count = z.number().int().nonnegative()
const Measured = z.number().nullable()
const Series = z.array(Measured)

const Produced = {
  samples: Count,
  /** Samples without one trained token, left out. */
  skipped: Count,
  /** Samples cut at `data.maxLength`. */
  cut: Count,
  /** Samples that were in the manifest already, from an interrupted run. */
  resumed: Count,
  /** Samples made by this run whose states the store did not copy. */
  linked: Count.default(0),
  tokens: Count,
  lossTokens: Count,
  bytes: Count,
}

export const EventBody = z.discriminatedUnion('event', [
  z.strictObject({
    event: z.literal('produce.started'),
    source: z.enum(['capture', 'files']),
    total: Count.nullable(),
  }),
  z.strictObject({ event: z.literal('produce.progress'), total: Count.nullable(), ...Produced }),
  /** Samples that were to stay in their files and were copied all the same. */
  z.strictObject({ event: z.literal('produce.copied'), samples: Count, why: z.string() }),
  z.strictObject({ event: z.literal('produce.finished'), manifest: z.string(), seconds: z.number(), ...Produced }),
  ...trainEvents,
  z.strictObject({
    event: z.literal('sample.corrupt'),
    sampleId: z.string(),
    generation: Count,
    code: z.string(),
    message: z.string(),
    /** The object was moved to the store's quarantine. Otherwise it was not there, or could not be moved. */
    quarantined: z.boolean(),
  }),
  z.strictObject({ event: z.literal('eval.started'), prompts: Count, steps: z.array(Count) }),
  z.strictObject({ event: z.literal('eval.prompt'), done: Count, total: Count }),
  z.strictObject({
    event: z.literal('eval.finished'),
    draft: z.string(),
    prompts: Count,
    lossless: z.boolean(),
    plainTokensPerSecond: z.number(),
    bySteps: z.array(
      z.strictObject({
        steps: Count,
        tau: z.number(),
        tokensPerSecond: z.number(),
        /** Conditional acceptance by draft position: accepted / proposed, all earlier positions accepted. */
        acceptance: Series,
      }),
    ),
  }),
  z.strictObject({
    event: z.literal('failed'),
    code: z.string(),
    message: z.string(),
    /** What failed only looked at the run: the run itself stands as it did. */
    onlyLooked: z.literal(true).optional(),
  }),
])
export type EventBody = z.output<typeof EventBody>

const Stamp = z.looseObject({ v: z.literal(1), ts: z.number(), runId: z.string() })

/** One line of `events.ndjson`, the one source for progress, summaries, curves and the report. */
export type RunEvent = z.output<typeof Stamp> & { readonly body: EventBody }

export function parseEvent(line: unknown): RunEvent {
  const { v, ts, runId, ...body } = Stamp.parse(line)
  return { v, ts, runId, body: EventBody.parse(body) }
}

export interface EventSink {
  emit(body: EventBody): void
}
