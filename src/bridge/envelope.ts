import { z } from 'zod'
import { CodedError, type Finding } from '../core/errors.ts'
import type { ObjectError } from './object-ops.ts'
import { PythonError } from './python-error.ts'

const Envelope = z.discriminatedUnion('ok', [
  z.strictObject({ ok: z.literal(true), value: z.unknown(), seconds: z.number() }),
  z.strictObject({
    ok: z.literal(false),
    /** Null for an exception other than BridgeError. */
    code: PythonError.shape.code.nullable(),
    type: z.string(),
    message: PythonError.shape.message,
    details: PythonError.shape.details,
    traceback: z.string(),
  }),
])

const OUT_OF_MEMORY = new Set(['OutOfMemoryError', 'MemoryError'])

export interface Reply {
  readonly value: unknown
  /** The run time of the Python function, without the overhead of the bridge. */
  readonly seconds: number
}

/** The value of a reply from Python. @throws the CodedError that Python raised, OUT_OF_MEMORY, or PYTHON_RAISED. */
export function openEnvelope(op: string, text: string): Reply {
  const given: unknown = JSON.parse(text)
  if (isValue(given)) return given
  const reply = Envelope.parse(given)
  if (reply.ok) return reply
  const cause = new Error(reply.traceback)
  const { code, type, message, details, traceback } = reply
  if (code !== null) throw coded({ code, message, details }, cause)
  if (OUT_OF_MEMORY.has(type)) throw coded({ code: 'OUT_OF_MEMORY', message: `${op}: ${message}`, details: {} }, cause)
  throw new CodedError('PYTHON_RAISED', `${op}: ${type}: ${message}`, { op, type, traceback }, { cause })
}

// The common case, checked without zod because it is on the path of every call. The op's own schema checks the value.
function isValue(given: unknown): given is Reply {
  if (typeof given !== 'object' || given === null || Object.keys(given).length !== 3) return false
  return 'ok' in given && given.ok === true && 'value' in given && 'seconds' in given && isNumber(given.seconds)
}

const isNumber = (value: unknown): boolean => typeof value === 'number'

/** The error of one object of a batch. */
export const objectError = ({ error }: ObjectError): CodedError => coded(error)

// Python builds the whole message, and gives the details of each code under the names that `finding` uses.
function coded({ code, message, details }: PythonError, cause?: Error): CodedError {
  return new CodedError(code, message, details as Finding as never, cause && { cause })
}
