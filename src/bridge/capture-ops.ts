import { z } from 'zod'
import { DataSettings, DraftSettings, TargetSettings } from '../core/settings/model-settings.ts'
import { CaptureContract } from '../core/target-contract.ts'
import { Encoded } from './ingest-ops.ts'
import { ObjectError } from './object-ops.ts'
import { Count, Handle, Int, Minted, op, Session } from './op.ts'

export const EncodedConversation = z.strictObject({
  /** `turn`: the answer that the sample trains, by its place in `messages`; null where one sample trains all. */
  samples: z.array(Encoded.extend({ turn: Count.nullable() })),
})
export type EncodedConversation = z.output<typeof EncodedConversation>

/** Ops that encode conversations and run the target on them. */
export const captureOps = {
  'capture.open': op(
    'engine',
    z.strictObject({
      target: TargetSettings,
      data: DataSettings,
      draft: DraftSettings,
      /** Chosen by the draft architecture. */
      auxLayers: z.array(Count),
      threads: Count,
    }),
    z.strictObject({
      handle: Handle,
      device: z.enum(['cpu', 'cuda']),
      /** At most so many padded tokens in one forward pass. */
      batchTokens: Count,
      contract: CaptureContract,
    }),
  ),
  'capture.encode': op(
    'engine',
    z.strictObject({
      session: Handle,
      /** Each `{ messages, tools? }` or `{ input_ids, loss_start }`, as JSON text, because it keeps the digits of numbers. */
      conversations: z.array(z.string()).min(1),
      maxLength: Int.positive(),
    }),
    /** For each conversation its samples, or why it is refused. */
    z.strictObject({ results: z.array(z.union([EncodedConversation, ObjectError])) }),
  ),
  /** Begins one forward pass. On a GPU it does not wait for the result, which `capture.collect` gives. */
  'capture.forward': op('engine', z.strictObject({ session: Handle, samples: z.array(Handle).min(1) }), Session),
  'capture.collect': op(
    'engine',
    z.strictObject({ pass: Handle }),
    z.strictObject({
      /** In the order of the samples. `bad`: the first state that holds values which are no numbers; it has no set. */
      samples: z.array(
        z.strictObject({
          set: Minted.nullable(),
          bad: z.strictObject({ field: z.string(), found: z.string() }).nullable(),
        }),
      ),
    }),
  ),
} as const
