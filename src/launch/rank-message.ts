import { z } from 'zod'
import { CodedError, type Finding, isErrorCode } from '../core/errors.ts'

/** The environment variable that holds the spec of a rank, as JSON. */
export const RANK_SPEC = 'DRAFTBRIDGE_RANK_SPEC'

/** A message from a rank to its supervisor. Every message also counts as a heartbeat. */
export const FromRank = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('alive') }),
  z.strictObject({ type: z.literal('phase'), phase: z.string() }),
  z.strictObject({ type: z.literal('event'), body: z.unknown() }),
  z.strictObject({ type: z.literal('done'), result: z.unknown() }),
  z.strictObject({
    type: z.literal('failed'),
    code: z.string().nullable(),
    message: z.string(),
    details: z.record(z.string(), z.unknown()),
    stack: z.string(),
  }),
])
export type FromRank = z.output<typeof FromRank>
export type RankFailure = Extract<FromRank, { type: 'failed' }>

/** A message from the supervisor to a rank: stop at the next safe point. */
export const ToRank = z.strictObject({ type: z.literal('stop') })
export type ToRank = z.output<typeof ToRank>

export function failureMessage(error: unknown): RankFailure {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  if (error instanceof CodedError) {
    return { type: 'failed', code: error.code, message: error.message, details: { ...error.details }, stack }
  }
  return {
    type: 'failed',
    code: null,
    message: error instanceof Error ? error.message : String(error),
    details: {},
    stack,
  }
}

/** The error that ended a rank, as a CodedError of this process; undefined for a bug, which has no code. */
export function errorOf(
  called: string,
  rank: number,
  { code, message, details, stack }: RankFailure,
): CodedError | undefined {
  if (code === null || !isErrorCode(code)) return undefined
  const where = details as Finding as never
  return new CodedError(code, `${message}\n  ${called.padEnd(6)} ${rank}`, where, { cause: new Error(stack) })
}
