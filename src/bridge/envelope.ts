import { z } from 'zod'
import { CodedError, type ErrorCode, type Finding, isErrorCode } from '../core/errors.ts'
import type { ObjectError } from './object-ops.ts'

const Where = z.looseObject({
  file: z.string().optional(),
  field: z.string().optional(),
  found: z.string().optional(),
  fix: z.string().optional(),
})

const Envelope = z.discriminatedUnion('ok', [
  z.strictObject({ ok: z.literal(true), value: z.unknown(), seconds: z.number() }),
  z.strictObject({
    ok: z.literal(false),
    code: z.string().nullable(),
    type: z.string(),
    message: z.string(),
    details: Where,
    traceback: z.string(),
  }),
])

const OUT_OF_MEMORY = new Set(['OutOfMemoryError', 'MemoryError'])

export interface Reply {
  readonly value: unknown
  /** How long the op itself ran, on its own thread. The rest of a call's time is the bridge's. */
  readonly seconds: number
}

/** A reply from Python, or the coded error that it stands for. */
export function openEnvelope(op: string, text: string): Reply {
  const given: unknown = JSON.parse(text)
  if (isGood(given)) return given
  const reply = Envelope.parse(given)
  if (reply.ok) return reply
  const cause = new Error(reply.traceback)
  if (reply.code !== null && isErrorCode(reply.code)) throw coded(reply.code, reply.message, reply.details, cause)
  if (OUT_OF_MEMORY.has(reply.type)) throw coded('OUT_OF_MEMORY', `${op}: ${reply.message}`, {}, cause)
  const { type, message, traceback } = reply
  throw new CodedError('PYTHON_RAISED', `${op}: ${type}: ${message}`, { op, type, traceback }, { cause })
}

// What nearly every call ends with, without the parser's way round. The op's own schema looks at the value.
function isGood(given: unknown): given is Reply {
  if (typeof given !== 'object' || given === null || Object.keys(given).length !== 3) return false
  return 'ok' in given && given.ok === true && 'value' in given && 'seconds' in given && isNumber(given.seconds)
}

const isNumber = (value: unknown): boolean => typeof value === 'number'

/** The error of one object of a batch. */
export function objectError({ error }: ObjectError): CodedError {
  if (isErrorCode(error.code)) return coded(error.code, error.message, error.details, undefined)
  return new CodedError('PYTHON_RAISED', error.message, { op: 'object.read', type: error.code, traceback: '' })
}

// Python builds the whole text for the few codes it may raise, and gives details in the same words as `finding` does.
function coded(code: ErrorCode, message: string, where: z.output<typeof Where>, cause: Error | undefined): CodedError {
  return new CodedError(code, message, where as Finding as never, cause && { cause })
}
