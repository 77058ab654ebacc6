import { z } from 'zod'
import { ProducedHealth } from './produced-health.ts'

const Count = z.number().int().nonnegative()

/** Samples by a figure: `from` <= figure < `to`. */
const Histogram = z.array(z.object({ from: Count, to: Count, samples: Count })).readonly()
export type Histogram = z.output<typeof Histogram>

/** A sample as text. `parts`: pieces of it in their order; long ones are cut in the middle. */
const MarkedSample = z.object({
  sampleId: z.string(),
  from: z.string(),
  tokens: Count,
  trained: Count,
  parts: z.array(z.object({ text: z.string(), trained: z.boolean() })).readonly(),
  /** Parts that are left out at the end. */
  more: Count,
})
export type MarkedSample = z.output<typeof MarkedSample>

const ShownSamples = z.object({
  seed: Count,
  samples: z.array(MarkedSample).readonly(),
  /** Why samples are missing; null when none is. */
  missing: z.string().nullable(),
})
export type ShownSamples = z.output<typeof ShownSamples>

/** How far a draft vocabulary of the most frequent tokens reaches. */
const Vocabulary = z.object({
  /** Trained tokens, and how many different ones. */
  trained: Count,
  distinct: Count,
  /** `share` of the trained tokens that the `tokens` most frequent ones make up. */
  coverage: z.array(z.object({ tokens: Count, share: z.number() })).readonly(),
})
export type Vocabulary = z.output<typeof Vocabulary>

/** What the samples of a manifest are like. */
export const DataHealth = z.object({
  run: z.string(),
  state: z.enum(['open', 'complete', 'failed']),
  /** What the producer counted; null while it works, and in manifests of earlier versions. */
  produced: ProducedHealth.nullable(),
  /** Samples of the manifest, and those of them that were cut. */
  samples: Count,
  cut: Count,
  tokens: Count,
  trainedTokens: Count,
  bytes: Count,
  /** Samples by number of tokens. */
  lengths: Histogram,
  /** Samples by trained tokens of 100 tokens. */
  trainedShares: Histogram,
  /** Null until the manifest is complete. */
  vocabulary: Vocabulary.nullable(),
  /** Null where nobody asked for samples. */
  shown: ShownSamples.nullable(),
})
export type DataHealth = z.output<typeof DataHealth>
