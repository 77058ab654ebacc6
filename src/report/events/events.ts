import { z } from 'zod'
import { Part } from '../../core/part.ts'
import { generateEvents } from './generate-events.ts'
import { nodeEvents } from './node-events.ts'
import { trainEvents } from './train-events.ts'

const Count = z.number().int().nonnegative()
const Measured = z.number().nullable()
const Series = z.array(Measured)

/** The part of the data set that the event is about, where each part has a producer of its own. */
const OfPart = { part: Part.optional() }

const Produced = {
  /** Inputs that were come to: conversations or files. One may give no sample, or several. */
  inputs: Count.default(0),
  samples: Count,
  /** Samples without loss tokens. They are not stored. */
  skipped: Count,
  /** Inputs that are bad. */
  refused: Count.default(0),
  /** Samples with the ids and the mask of an earlier one. They are stored like any other. */
  repeats: Count.default(0),
  /** Samples truncated at `data.maxLength` or at the target's positions. */
  cut: Count,
  /** Samples that an earlier, interrupted start had already published. */
  resumed: Count,
  /** Samples of this start whose hidden states are linked into the store instead of copied. */
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
    ...OfPart,
  }),
  /** What lies in `features.files`, by kind, before any of it is read whole. */
  z.strictObject({
    event: z.literal('produce.found'),
    layout: z.string(),
    finalNorm: z.enum(['pre', 'post']),
    files: z.array(z.strictObject({ kind: z.string(), files: Count })).readonly(),
    /** What gives no sample, by reason. */
    leftOut: z.array(z.strictObject({ why: z.string(), count: Count, first: z.string() })).readonly(),
    /** The data set that the masks are read from. */
    masks: z.string().nullable(),
  }),
  z.strictObject({ event: z.literal('produce.progress'), total: Count.nullable(), ...Produced, ...OfPart }),
  /** Bad inputs of one kind. `places`: the first of them. */
  z.strictObject({
    event: z.literal('produce.refused'),
    why: z.string(),
    samples: Count,
    places: z.array(z.string()).readonly(),
    ...OfPart,
  }),
  /** Samples that were copied although `features.link` asked for links. `why`: the reason. */
  z.strictObject({ event: z.literal('produce.copied'), samples: Count, why: z.string(), ...OfPart }),
  z.strictObject({
    event: z.literal('produce.finished'),
    manifest: z.string(),
    seconds: z.number(),
    ...Produced,
    ...OfPart,
  }),
  /** Another process has worked in the folder, and it cannot be seen from here whether it lives. */
  z.strictObject({ event: z.literal('claim.waiting'), folder: z.string(), seconds: Count }),
  ...trainEvents,
  ...generateEvents,
  ...nodeEvents,
  z.strictObject({
    event: z.literal('sample.corrupt'),
    sampleId: z.string(),
    generation: Count,
    code: z.string(),
    message: z.string(),
    /** True if the object was moved to quarantine. False if it is missing or could not be moved. */
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
        /** By draft position: accepted / proposed tokens, counted where all earlier positions were accepted. */
        acceptance: Series,
      }),
    ),
  }),
  z.strictObject({
    event: z.literal('failed'),
    code: z.string(),
    message: z.string(),
    /** The command that failed only reads the run, so the state of the run is unchanged. */
    onlyLooked: z.literal(true).optional(),
  }),
])
export type EventBody = z.output<typeof EventBody>

const Stamp = z.looseObject({ v: z.literal(1), ts: z.number(), runId: z.string() })

/** One line of `events.ndjson`. Progress, summaries, curves and the report are all computed from these events. */
export type RunEvent = z.output<typeof Stamp> & { readonly body: EventBody }

export function parseEvent(line: unknown): RunEvent {
  const { v, ts, runId, ...body } = Stamp.parse(line)
  return { v, ts, runId, body: EventBody.parse(body) }
}

/** The same event, about one part. Events that are about none stay as they are. */
export function ofPart(body: EventBody, part: Part): EventBody {
  switch (body.event) {
    case 'produce.started':
    case 'produce.progress':
    case 'produce.refused':
    case 'produce.copied':
    case 'produce.finished':
      return { ...body, part }
    default:
      return body
  }
}

export interface EventSink {
  emit(body: EventBody): void
}
