import { z } from 'zod'
import { TargetSettings } from '../core/settings/model-settings.ts'
import { ObjectError } from './object-ops.ts'
import { Count, Handle, Int, op } from './op.ts'

const Sampling = { maxNewTokens: Int.positive(), temperature: z.number().nonnegative(), topP: z.number().positive() }

/** An answer of the target, or a prompt. `tokens`: with the one that ends it. `ended`: false when it was cut. */
const Written = z.strictObject({ text: z.string(), tokens: Count, ended: z.boolean() })

const Answer = Written.extend({
  /** Answers that the conversation wants after this one. */
  left: Count,
  promptTokens: Count,
  /** The message for `text`, as JSON. Null: no message that the chat template renders as `text`. */
  message: z.string().nullable(),
})
export type Answer = z.output<typeof Answer>

/** Ops that let the target write. Conversations and messages are JSON text, because it keeps the digits of numbers. */
export const generateOps = {
  'generate.open': op(
    'engine',
    z.strictObject({ target: TargetSettings, today: z.string() }),
    z.strictObject({
      handle: Handle,
      device: z.enum(['cpu', 'cuda']),
      targetHash: z.string(),
      templateHash: z.string().nullable(),
      computeDtype: z.string(),
      stopTokens: z.array(Count).min(1),
    }),
  ),
  /** The next answer of each conversation. `answers`: those that it has already. */
  'generate.answers': op(
    'engine',
    z.strictObject({
      session: Handle,
      turns: z.array(z.strictObject({ conversation: z.string(), answers: z.array(z.string()), seed: Count })).min(1),
      ...Sampling,
    }),
    z.strictObject({ results: z.array(z.union([Answer, ObjectError])) }),
  ),
  /** First turns of users, one for each seed. */
  'generate.prompts': op(
    'engine',
    z.strictObject({ session: Handle, seeds: z.array(Count).min(1), ...Sampling }),
    z.strictObject({ results: z.array(Written) }),
  ),
  /** Conversations with all their answers, and how many tokens of them a capture trains. */
  'generate.finish': op(
    'engine',
    z.strictObject({
      session: Handle,
      conversations: z.array(z.strictObject({ conversation: z.string(), answers: z.array(z.string()) })).min(1),
    }),
    z.strictObject({
      results: z.array(z.union([z.strictObject({ conversation: z.string(), trained: Count }), ObjectError])),
    }),
  ),
} as const
