import { LosslessNumber, parse, stringify } from 'lossless-json'

/**
 * Parses JSON without changing a number: one that JavaScript would write in another way (`1.0`, 64-bit ids) is a
 * `LosslessNumber`, which holds its digits. @throws SyntaxError
 */
export function parseExact(text: string): unknown {
  // The exact parser is many times slower, and few lines have a number that matters.
  const value: unknown = JSON.parse(text)
  return mayChangeNumbers(text) ? exactly(text) : value
}

/** The same for the arguments of a call, in which every number matters. */
export const parseArguments = (text: string): unknown => exactly(text)

const exactly = (text: string): unknown => parse(text, null, exactNumber)

/** As JSON.stringify, with the digits of every number as they were given. */
export function stringifyExact(value: unknown): string {
  const text = stringify(value)
  if (text === undefined) throw new Error('no JSON value')
  return text
}

const mayChangeNumbers = (text: string): boolean =>
  /\d{16}/.test(text) || (/"(tools|tool_calls|function_call)"/.test(text) && /\d[.eE]/.test(text))

function exactNumber(digits: string): number | LosslessNumber {
  const number = Number(digits)
  return String(number) === digits ? number : new LosslessNumber(digits)
}
